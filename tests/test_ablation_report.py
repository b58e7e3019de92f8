"""The page of an ablation: rows, what does not fit, what differs, and the chart's numbers."""

import json
from pathlib import Path
from typing import Any

import pytest

from moesaic.models.errors import InputError
from moesaic.models.network_io import save_network
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.models.zoo import CALIBRATION_FILE
from moesaic.reports.ablation_record import ABLATION_FILE, Ablation, load_ablation
from moesaic.reports.ablation_view import ablation_view
from moesaic.reports.bandwidth import COLUMNS, first_attention, measure_bandwidth
from moesaic.reports.html import build_report
from moesaic.sim.options import RunOptions

ROW = {
    "slower": 1.0,
    "cycles_predicted": 1000,
    "cycles_rtl": 1000,
    "cycles_exact": True,
    "bit_exact": True,
    "layers_compared": 4,
    "latency_s": 1e-5,
    "bytes_read": 2048,
    "bytes_written": 64,
    "on_chip_bytes": 512,
    "failures": [],
}


def example() -> dict[str, Any]:
    """Return an ablation of two rows and two machines."""
    machines = [
        {
            "columns": columns,
            "order": order,
            "cycles": 100,
            "beats": 10,
            "key_lines": 5,
            "value_lines": 5,
            "bytes": 10 * each,
            "bytes_per_beat": float(each),
            "failures": [],
        }
        for columns, order, each in (
            (2, "shared", 40),
            (8, "shared", 44),
            (2, "plain", 60),
            (8, "plain", 240),
        )
    ]
    return {
        "model": "net",
        "accel": "machine",
        "clock_hz": 100_000_000,
        "target": "xcup",
        "limits": {"dsp": 20},
        "rows": [
            {"name": "as it is", "resources": {"dsp": 10, "bram36": 2.5, "lut": 1}} | ROW,
            {"name": "three <arrays>", "resources": {"dsp": 30, "bram36": 2.5, "lut": 1}} | ROW,
        ],
        "bandwidth": machines,
        "command": "moesaic ablate net --accel machine",
    }


def written(folder: Path, content: dict[str, Any]) -> Ablation:
    (folder / ABLATION_FILE).write_text(json.dumps(content))
    return load_ablation(folder)


def test_page_holds_rows_and_chart(tmp_path: Path) -> None:
    written(tmp_path, example())
    page = build_report(tmp_path).read_text()
    assert "three &lt;arrays&gt;" in page
    assert page.count("<circle") == 4
    assert "the part has 20" in page
    assert "moesaic ablate net --accel machine" in page
    assert "Exact" in page


def test_more_at_a_point_is_drawn_higher(tmp_path: Path) -> None:
    chart = ablation_view(written(tmp_path, example()))["chart"]
    shared, plain = chart["lines"]
    assert [line["order"] for line in chart["lines"]] == ["shared", "plain"]
    (x0, y0, _), (x1, y1, _) = plain["points"]
    assert x0 < x1
    assert y0 > y1
    assert shared["points"][0][1] > y0
    for line in chart["lines"]:
        for x, y, _ in line["points"]:
            assert chart["left"] <= x <= chart["right"]
            assert 0 <= y <= chart["bottom"]


def test_differences_are_on_the_page(tmp_path: Path) -> None:
    content = example()
    content["bandwidth"][1]["failures"] = ["block0.proj: 3 values"]
    view = ablation_view(written(tmp_path, content))
    assert view["verdict"]["state"] == "fail"
    assert "8 columns, shared: block0.proj: 3 values" in view["verdict"]["text"]
    content["bandwidth"][1]["failures"] = []
    content["rows"][1]["cycles_rtl"] = None
    assert ablation_view(written(tmp_path, content))["verdict"]["state"] == "none"


@pytest.mark.parametrize(
    ("change", "message"),
    [({"rows": []}, "rows must be at least one"), ({"model": 3}, "model")],
)
def test_foreign_files_are_refused(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        written(tmp_path, example() | change)


def test_first_attention_is_cut_out() -> None:
    network = sample_network("prenorm", depth=2)
    graph = quantise(network, sample_images(network, 2))
    part = first_attention(graph)
    assert part.nodes[-1].name == "block0.proj"
    with pytest.raises(InputError, match="must have an attention"):
        first_attention(part.__class__(name="x", data_bits=8, nodes=part.nodes[:2]))


def test_bytes_per_beat_on_rtl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shared tiles need almost the same with more columns; in plain order demand doubles."""
    import numpy as np

    network = sample_network("prenorm", tokens=33, dim=24)
    save_network(network, tmp_path / "net")
    np.save(tmp_path / "net" / CALIBRATION_FILE, sample_images(network, 3))
    monkeypatch.setattr("moesaic.reports.bandwidth.COLUMNS", COLUMNS[:2])
    options = RunOptions(model=str(tmp_path / "net"), accel="tiny")
    rows = {(r["columns"], r["order"]): r for r in measure_bandwidth(options)}
    assert len(rows) == 4
    assert not any(row["failures"] for row in rows.values())
    keys = {key: row["key_lines"] / row["beats"] for key, row in rows.items()}
    assert keys[4, "plain"] > 1.5 * keys[2, "plain"]
    assert keys[4, "shared"] < 0.1 * keys[4, "plain"]
    assert rows[4, "plain"]["bytes_per_beat"] > 1.5 * rows[4, "shared"]["bytes_per_beat"]
