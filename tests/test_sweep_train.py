"""Training as a sweep's workload: sums of layers, refusals, confirmation on RTL."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.dataflow.training.layer_search import best_mapping
from moesaic.models.accel import NM
from moesaic.models.accel_io import load_accel
from moesaic.models.training.layer_shapes import NETWORKS, LayerShape
from moesaic.models.training.method import Method
from moesaic.reports.cli import main
from moesaic.sim.sweep.point import Job, design
from moesaic.sim.sweep.space import load_space
from moesaic.sim.sweep.train import OnRtl, predict_training, train_on_rtl

TINY = load_accel("tiny-train")
LINEAR = LayerShape(name="linear", inputs=24, outputs=32, tokens=13, count=3)
ATTENTION = LayerShape(name="attention", inputs=32, outputs=32, tokens=9, heads=2)
SPACE = """
base: tiny-train
workloads: [{model: small, batch: 2}]
parameters: {nm: [dense, "2:8"], memory.bytes_per_cycle: [4, 8]}
objectives: [throughput, dsp]
"""


@pytest.fixture(autouse=True)
def _small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(NETWORKS, "small", lambda: [LINEAR, ATTENTION])
    monkeypatch.chdir(tmp_path)
    Path("space.yaml").write_text(SPACE)


@pytest.mark.parametrize("nm", ["dense", "2:8"])
def test_a_step_is_the_sum_of_its_layers(nm: str) -> None:
    method = Method() if nm == "dense" else Method(name="bdwp", nm=NM.parse(nm))
    parts = [best_mapping(TINY, layer, method, 2) for layer in (LINEAR, ATTENTION)]
    timings = [part.timing for part in parts]
    got = predict_training(Job(model="small", batch=2, nm=nm), TINY)
    assert got.cycles == 3 * timings[0].cycles + timings[1].cycles
    assert got.bytes_read == 3 * timings[0].bytes_read + timings[1].bytes_read
    assert got.bytes_written == 3 * timings[0].bytes_written + timings[1].bytes_written
    assert 0 < got.floor.compute < got.cycles
    assert 0 < got.floor.bandwidth < got.cycles


def test_columns_bring_their_lanes() -> None:
    space = load_space("vcu1525-bdwp")
    for columns in (32, 64):
        spec = design(space.problem, {"columns": columns}).spec
        assert (spec.columns, spec.lanes) == (columns, columns)


def test_a_ratio_that_the_machine_lacks_is_a_point_without_figures(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path("space.yaml").write_text(SPACE.replace("2:8", "1:16"))
    assert main(["sweep", "space.yaml", "--out", "o"]) == 0
    points = json.loads(Path("o/sweep.json").read_text())["points"]
    problems = {p["parameters"]["nm"]: p["problem"] for p in points}
    assert problems["dense"] is None
    assert problems["1:16"].startswith("nm must be one of dense, ")
    assert capsys.readouterr().err == ""


@pytest.mark.xdist_group("tiny-train")
@pytest.mark.parametrize("wrong", [0, 1])
def test_confirmation(wrong: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A point's layers on RTL; a sweep whose cycles are wrong by one is found out."""
    if wrong:

        def late(job: Job, spec: object) -> OnRtl:
            del spec
            step = train_on_rtl(job, TINY)
            return replace(step, cycles_rtl=step.cycles_rtl + 1)

        monkeypatch.setattr("moesaic.sim.sweep.verify.train_on_rtl", late)
    Path("space.yaml").write_text(SPACE.replace('dense, "2:8"', '"2:8"').replace("4, 8]", "8]"))
    assert main(["sweep", "space.yaml", "--out", "o", "--verify", "1"]) == wrong
    (record,) = json.loads(Path("o/sweep.json").read_text())["verification"]
    assert record["exact"] == (not wrong)
    assert record["cycles"] == record["cycles_predicted"]
