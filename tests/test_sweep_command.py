"""`moesaic sweep` from the outside: files, exit codes, confirmation on RTL."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from moesaic.models.accel import BoardSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.energy import TABLES
from moesaic.models.resources.model import predict as predict_resources
from moesaic.models.space_names import space_names
from moesaic.reports.cli import main
from moesaic.reports.sweep_record import breakdown_record
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions
from moesaic.sim.sweep.breakdown import Breakdown
from moesaic.sim.sweep.resources import comparable, counted, fits, limits, resources
from moesaic.sim.sweep.store import read_store
from tests.sweep_cases import save_small, write_space

SWEEP = ["sweep", "space.yaml", "--out", "o"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_small(tmp_path / "small")


def result() -> dict[str, Any]:
    return dict(json.loads(Path("o/sweep.json").read_text()))


def test_list_names_sweeps(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    assert all(f"\n  {name} " in text.partition("sweeps:")[2] for name in space_names())


def test_sweep_by_two_processes(capsys: pytest.CaptureFixture[str]) -> None:
    write_space(Path("space.yaml"), objectives=["cycles"], constraints={"dsp": {"max": 160}})
    assert main([*SWEEP, "--jobs", "2"]) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[0] == "points 0/24"
    assert any(line.startswith("points 24/24  ") and "points/s" in line for line in out)
    content = result()
    points = content["points"]
    assert [point["number"] for point in points] == list(range(24))
    good = [point for point in points if point["feasible"]]
    assert all(point["parameters"]["rows"] == 8 for point in good)
    assert all(point["problem"] or point["violated"] for point in points if point not in good)
    assert content["front"] == [point["number"] for point in points if point["front"]]
    best = min(good, key=lambda point: (point["figures"]["cycles"], point["number"]))
    assert content["front"][0] == best["number"]
    with Path("o/points.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["cycles"] for row in rows if row["front"] == "1"] == [
        str(best["figures"]["cycles"])
    ] * len(content["front"])
    # A point's cycles are those of a run.
    point = best["parameters"]
    accel = "base.yaml"
    lines = [f"{name}: {value}" for name, value in point.items() if "." not in name]
    preset = Path(__file__).parents[1] / "models/presets/tiny.yaml"
    kept = [
        line
        for line in preset.read_text().splitlines()
        if not line.startswith("#") and line.partition(":")[0] not in point
    ]
    Path(accel).write_text("\n".join([*kept, *lines]))
    options = RunOptions(model="small", accel=accel, backend="model")
    if point["mapping.attention"] == "plain":
        from moesaic.dataflow.options import MapOptions

        options = replace(options, mapping=MapOptions(attention="plain"))
    assert run(options).timing.cycles == best["figures"]["cycles"]


def test_resources_and_energy_are_objectives(capsys: pytest.CaptureFixture[str]) -> None:
    """The whole design's, as the model of resources and the table of energy have them."""
    table = yaml.safe_load((TABLES / "horowitz-45nm.yaml").read_text())
    table["picojoules"]["dram_byte"] = 0
    table["source"] = "without memory"
    Path("mine.yaml").write_text(yaml.safe_dump(table))
    goals = ["latency", "lut", "dsp", "energy"]
    figures = {}
    for name, own in (("with", {}), ("without", {"energy": "mine.yaml"})):
        write_space(Path("space.yaml"), objectives=goals, constraints={"ff": {"min": 1}}, **own)
        assert main(["sweep", "space.yaml", "--out", name]) == 0
        content = json.loads(Path(name, "sweep.json").read_text())
        assert content["whole_design"] == ["dsp", "bram36", "lut", "ff"]
        assert content["space"]["energy"] == own.get("energy", "horowitz-45nm")
        figures[name] = [p["figures"] for p in content["points"] if p["figures"]]
        points = {p["number"]: p for p in content["points"]}
        front = [[points[n]["figures"][goal] for goal in goals] for n in content["front"]]
        assert len(front) > 1
        best = min(p["figures"]["lut"] for p in points.values() if p["feasible"])
        assert best in [values[1] for values in front]
        one = points[content["front"][0]]
        widths = {n: v for n, v in one["parameters"].items() if "." not in n}
        spec = replace(load_accel("tiny"), **widths)
        assert {n: one["figures"][n] for n in content["whole_design"]} == predict_resources(spec)
    for ours, theirs in zip(figures["with"], figures["without"], strict=True):
        assert ours["energy"] - theirs["energy"] == pytest.approx(ours["bytes"] * 162.5e-12)
    assert capsys.readouterr().err == ""


def test_fits_means_the_whole_design() -> None:
    """The array alone would do with 64 of 160 DSP blocks."""
    board = BoardSpec(part="xczu9eg-ffvb1156-2-e", dsp=160, bram36=900, lut=200_000)
    spec = replace(load_accel("tiny"), board=board)
    used = resources(spec)
    assert fits(spec, used)
    assert limits(spec) == {"dsp": 160, "bram36": 900, "lut": 200_000, "ff": 400_000}
    for less in (replace(board, dsp=130), replace(board, bram36=20), replace(board, lut=20_000)):
        assert not fits(replace(spec, board=less), used), less
    assert fits(replace(spec, board=BoardSpec()), used)
    assert not fits(replace(spec, board=replace(board, lut=int(used["lut"]) - 1)), used)


def test_each_family_counts_its_own_cells() -> None:
    specs = [load_accel("tiny"), load_accel("ecp5-85k")]
    assert counted(specs)["dsp"] == "DSP48E2 of the whole design or MULT18X18D of the whole design"
    assert limits(specs[1]) == {"dsp": 156, "bram36": 104, "lut": 83_640, "ff": 83_640}
    assert [comparable([spec]) for spec in specs] == [True, False]
    trains = load_accel("tiny-train")
    assert list(counted([trains])) == ["dsp", "bram36"]
    assert not comparable([trains])


def test_resume_computes_nothing_twice(capsys: pytest.CaptureFixture[str]) -> None:
    write_space(Path("space.yaml"), parameters={"rows": [8, 16]})
    assert main([*SWEEP, "--resume"]) == 2
    assert "holds no sweep.db" in capsys.readouterr().err
    assert main(SWEEP) == 0
    kept = read_store(Path("o")).content()
    assert main(SWEEP) == 2
    assert "add --resume, or choose another name" in capsys.readouterr().err
    assert main([*SWEEP, "--resume"]) == 0
    assert (result()["computed"], read_store(Path("o")).content()) == (0, kept)
    write_space(Path("space.yaml"), parameters={"rows": [8]})
    assert main([*SWEEP, "--resume"]) == 2
    assert "parameters must be as when the sweep began" in capsys.readouterr().err


def test_an_interrupt_leaves_a_store_to_go_on_with(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_space(Path("space.yaml"))

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("moesaic.sim.sweep.run.judge", interrupted)
        assert main(SWEEP) == 130
    assert capsys.readouterr().err == "moesaic: interrupted\n"
    assert main([*SWEEP, "--resume"]) == 0
    assert result()["computed"] == 0  # the points were there, the verdicts were not


def test_layers_of_a_kind_are_one() -> None:
    cycles = {"blocks.0.moe.experts.3.hidden": 5, "blocks.1.moe.experts.12.hidden": 7, "head": 1}
    record = breakdown_record(Breakdown(number=4, cycles=cycles))
    assert record == {"number": 4, "cycles": {"moe.experts.hidden": 12, "head": 1}}


def test_breakdowns_add_up() -> None:
    """Points along the front, by kind of layer, numbers of blocks left out."""
    write_space(Path("space.yaml"))
    assert main(SWEEP) == 0
    found = result()
    cycles = {p["number"]: p["figures"]["cycles"] for p in found["points"] if p["figures"]}
    shown = found["breakdowns"]
    assert shown[0]["number"] == found["front"][0]
    assert shown[-1]["number"] == found["front"][-1]
    assert len(shown) == min(8, len(found["front"]))
    for one in shown:
        assert sum(one["cycles"].values()) == cycles[one["number"]]
        assert not any(re.search(r"[._]\d", kind) for kind in one["cycles"])


@pytest.mark.xdist_group("tiny")
@pytest.mark.parametrize("wrong", [0, 1])
def test_verification(
    wrong: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One point of the front on RTL; a sweep whose cycles are wrong by one is found out."""
    if wrong:
        from moesaic.sim.sweep import evaluate as module

        right = module._predict
        monkeypatch.setattr(
            module,
            "_predict",
            lambda *a, **k: replace(right(*a, **k), cycles=right(*a, **k).cycles + 1),
        )
    write_space(Path("space.yaml"), parameters={"rows": [8]})
    assert main([*SWEEP, "--verify", "1"]) == wrong
    (record,) = result()["verification"]
    assert record["chosen"] == "best"
    assert record["exact"] == (not wrong)
    assert record["cycles_rtl"] == record["cycles_predicted"]
    assert ("comparison failed" in capsys.readouterr().err) == bool(wrong)
