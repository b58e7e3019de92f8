"""The table of five networks' layers: its sums, its words, and one layer of each on RTL."""

import json
from pathlib import Path

import pytest

from moesaic.models.accel_io import load_accel
from moesaic.models.training.layer_shapes import NETWORKS, network_layers
from moesaic.reports import layer_table
from moesaic.reports.layer_table import DENSE, ON_RTL, RATIOS, confirm, layer_rows, summary

SPEC = load_accel("vcu1525")
DOCS = Path(__file__).parents[1] / "docs" / "layers.md"


def test_the_preset_is_as_large_as_it_says() -> None:
    assert SPEC.numbers == "fp16"
    assert SPEC.rows * SPEC.columns >= 32 * 32
    assert [str(nm) for nm in SPEC.sparsity] == [*RATIOS]


def test_sums_and_bounds() -> None:
    """A small batch of the transformer: between no gain and the bound, more with more pruning."""
    rows = list(layer_rows(SPEC, "vit", RATIOS, batch=4))
    assert [row.name for row in rows] == [layer.name for layer in network_layers("vit")]
    for row in rows:
        stages = row.stages[DENSE]
        assert row.macs == sum(stage["macs"] for stage in stages.values())
        assert sum(stage["cycles"] for stage in stages.values()) <= row.cycles[DENSE]
        assert row.cycles[DENSE] >= row.macs / SPEC.macs_per_cycle
    [found] = summary(rows, SPEC, RATIOS)
    assert found["cycles"][DENSE] == sum(row.count * row.cycles[DENSE] for row in rows)
    speedups = [found["speedup"][ratio] for ratio in RATIOS]
    assert 1.2 < speedups[0] < speedups[1] < speedups[2] < found["bound"]["2:16"]
    sparse = next(row for row in rows if row.name == "mlp")
    macs = {r: sum(s["macs"] for s in sparse.stages[r].values()) for r in (DENSE, *RATIOS)}
    assert [macs[DENSE] / macs[r] for r in RATIOS] == [1.5, 2.0, 2.4]


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "layers.json"
    asked = ["--network", "vit", "--ratio", "2:8", "--batch", "2", "--json", str(path)]
    assert layer_table.main(asked) == 0
    content = json.loads(path.read_text())
    [network] = content["networks"]
    said = capsys.readouterr().out
    assert f"{network['speedup']['2:8']:.3f} of {network['bound']['2:8']:.3f}" in said
    assert layer_table.main(["--network", "vit", "--accel", "tiny"]) == 2
    assert "error: " in capsys.readouterr().err


@pytest.mark.nightly
@pytest.mark.parametrize("ratio", [DENSE, "2:8"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_whole_layer_on_rtl(network: str, ratio: str) -> None:
    """Forward, both gradients, update and packing of one image, all of the layer's channels."""
    assert ON_RTL[network] in {layer.name for layer in network_layers(network)}
    check = confirm(SPEC, network, ratio)
    assert check["failures"] == []
    assert check["cycles_rtl"] == check["cycles_predicted"]
    assert check["values_compared"] > 100_000


@pytest.mark.nightly
def test_the_page_has_the_tables_figures() -> None:
    rows = [row for network in NETWORKS for row in layer_rows(SPEC, network, RATIOS)]
    page = DOCS.read_text()
    for line in layer_table.table_lines(summary(rows, SPEC, RATIOS), RATIOS):
        assert line in page
