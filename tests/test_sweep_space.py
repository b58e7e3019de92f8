"""Spaces: ranges and points; every contradiction is one line, and leaves nothing behind."""

from pathlib import Path
from typing import Any

import pytest

from moesaic.models.space_names import space_names
from moesaic.reports.cli import main
from moesaic.sim.sweep.check import check_space
from moesaic.sim.sweep.point import design
from moesaic.sim.sweep.space import load_space
from tests.sweep_cases import save_small, write_space

WIDTHS = {"rows": [8, 16]}
BAD: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"colour": 1}, "unknown key 'colour', allowed are base, workloads"),
    "no base": ({"base": None}, "base is missing"),
    "unknown base": ({"base": "tyni"}, "base: must be a YAML file or one of"),
    "mapping of a training machine": (
        {"base": "tiny-train"},
        "parameters.mapping.attention: machines for training have no such choice",
    ),
    "network to train": (
        {"base": "tiny-train", "parameters": {"bus_bytes": [4, 8]}},
        "workloads: small: network must be one of resnet9, vit",
    ),
    "ratio": (
        {
            "base": "tiny-train",
            "workloads": [{"model": "vit", "nm": "8"}],
            "parameters": {"bus_bytes": [8]},
        },
        "workloads: vit: ",
    ),
    "ratio of integers": (
        {"workloads": [{"model": "small", "nm": "2:4"}]},
        "workloads: small: nm must be dense on machines for integers, not '2:4'",
    ),
    "machines of both kinds": (
        {"parameters": {"base": ["tiny", "tiny-train"]}},
        "base: all must train or none, not tiny, tiny-train",
    ),
    "unknown model": ({"workloads": [{"model": "nosuch"}]}, "workloads: nosuch: MODEL must be one"),
    "unknown task": ({"workloads": [{"model": "small", "task": 3}]}, "task must be in 0..0, not 3"),
    "large batch": (
        {"workloads": [{"model": "small", "batch": 9}]},
        "batch must be in 1..4, not 9",
    ),
    "no batch": ({"workloads": [{"model": "small", "batch": 0}]}, "workloads.0.batch: must be"),
    "key of a workload": ({"workloads": [{"model": "small", "x": 0}]}, "'workloads.0.x', allowed"),
    "no workloads": ({"workloads": []}, "workloads: "),
    "unknown parameter": ({"parameters": {"row": [8]}}, "parameters.row: unknown parameter"),
    "no parameters": ({"parameters": {}}, "parameters: "),
    "scalar": ({"parameters": {"rows": 8}}, "parameters.rows: must be a valid list, not 8"),
    "empty list": ({"parameters": {"rows": []}}, "parameters.rows must have at least one value"),
    "repeated": ({"parameters": {"rows": [8, 8]}}, "must hold each value once, not 8 twice"),
    "text": ({"parameters": {"rows": ["8"]}}, "parameters.rows must hold integers, not '8'"),
    "no power": ({"parameters": {"rows": [8, 12]}}, "parameters.rows: no point with 12"),
    "only bad ones": ({"parameters": {"rows": [12]}}, "no point is feasible: rows must be a power"),
    "N:M": ({"parameters": {"sparsity": [["3:4"]]}}, "sparsity must be N:M"),
    "empty range": (
        {"parameters": {"rows": {"from": 16, "to": 8, "step": 8}}},
        "parameters.rows: to must be at least from = 16, not 8",
    ),
    "range without step": (
        {"parameters": {"rows": {"from": 8, "to": 16}}},
        "parameters.rows.step is missing",
    ),
    "no step": ({"parameters": {"rows": {"from": 8, "to": 16, "step": 0}}}, "not 0"),
    "long range": (
        {"parameters": {"memory.latency": {"from": 1, "to": 10**15, "step": 1}}},
        "memory.latency must have at most 1024 values",
    ),
    "unknown objective": ({"objectives": ["speed"]}, "objectives must be of cycles, latency"),
    "objective that is not counted": ({"objectives": ["uram"]}, "not 'uram'"),
    "unknown energy": ({"energy": "fusion"}, "energy must be a YAML file or one of horowitz-45nm"),
    "energy without a file": ({"energy": "gone.yaml"}, "gone.yaml: cannot be read"),
    "energy in numbers": ({"energy": 3}, "energy: must be a valid string, not 3"),
    "no objective": ({"objectives": []}, "objectives: "),
    "objective twice": ({"objectives": ["dsp", "dsp"]}, "objectives must differ"),
    "unknown constraint": ({"constraints": {"speed": {"max": 1}}}, "constraints.speed: unknown"),
    "crossed bounds": (
        {"constraints": {"cycles": {"min": 9, "max": 3}}},
        "constraints.cycles: max must be at least min = 9, not 3",
    ),
    "no bounds": ({"constraints": {"cycles": {}}}, "constraints.cycles must be a mapping with min"),
    "nan bound": ({"constraints": {"cycles": {"max": float("nan")}}}, "constraints.cycles"),
    "unknown sampler": (
        {"sampler": "magic"},
        "sampler: must be 'grid', 'random', 'nsga2' or 'tpe'",
    ),
    "random without points": ({"sampler": "random"}, "points is missing, sampler random needs it"),
    "more points than there are": ({"sampler": "tpe", "points": 25}, "points must be at most 24"),
    "part of a grid": ({"points": 10}, "points must be 24 or absent with sampler grid, not 10"),
    "points in words": ({"points": "many"}, "points: must be a valid integer, not 'many'"),
    "seed": ({"seed": -1}, "seed: must be greater than or equal to 0, not -1"),
}
LATE: dict[str, tuple[dict[str, Any], str]] = {
    "scratchpads too small": (
        {"parameters": {**WIDTHS, "residual_words": [8]}},
        "parameters: none of 2 points is feasible: residual_words must be at least",
    ),
    "bound that none keeps": (
        {"parameters": WIDTHS, "constraints": {"cycles": {"max": 7}}},
        "constraints.cycles: none of 2 points is feasible with max 7: its values are ",
    ),
    "board": (
        {
            "base": "ecp5-85k",
            "parameters": {**WIDTHS, "columns": [32]},
            "constraints": {"fits": True},
        },
        "constraints.fits: none of 2 points",
    ),
    "too many LUTs": (
        {"parameters": WIDTHS, "constraints": {"lut": {"max": 1000}}},
        "constraints.lut: none of 2 points is feasible with max 1000",
    ),
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_small(tmp_path / "small")


@pytest.mark.parametrize("case", [*BAD, *LATE])
def test_contradictions(case: str, capsys: pytest.CaptureFixture[str]) -> None:
    changes, named = (BAD | LATE)[case]
    write_space(Path("space.yaml"), **changes)
    before = set(Path().rglob("*"))
    assert main(["sweep", "space.yaml", "--out", "o"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("moesaic: space.yaml: ")
    assert named in lines[0]
    assert lines[0].isprintable()
    assert set(Path().rglob("*")) == before


def test_points_of_a_grid() -> None:
    space = load_space(write_space(Path("space.yaml")))
    points = list(space.grid())
    assert len(points) == len({str(point) for point in points}) == space.points == 24
    assert points[0] == {"rows": 8, "lanes": 4, "bus_bytes": 4, "mapping.attention": "shared"}
    assert list(space.values["lanes"]) == [4, 8, 16]
    chosen = design(space.problem, points[-1])
    assert (chosen.spec.rows, chosen.spec.lanes, chosen.spec.bus_bytes) == (16, 16, 8)
    assert chosen.mapping.attention == "plain"


def test_scratchpads_keep_their_bits() -> None:
    parameters = {"rows": [32], "scratchpads": [2], "kv_words": [64]}
    space = load_space(write_space(Path("space.yaml"), parameters=parameters))
    spec = design(space.problem, space.at(0)).spec
    base = space.problem.bases["tiny"]
    assert spec.act_words * spec.act_word == 2 * base.act_words * base.act_word
    assert spec.score_words == 2 * base.score_words  # as wide as before
    assert spec.kv_words == 64


@pytest.mark.parametrize("name", space_names())
def test_spaces_that_ship(name: str) -> None:
    space = load_space(name)
    check_space(space)
    assert space.points >= (2000 if name == "zcu102-m3vit" else 100)
    assert space.fits
