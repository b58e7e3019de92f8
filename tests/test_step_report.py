"""A training step against the dense one: bound by hand, figures of the JSON, the page of both."""

import json
import re
from collections.abc import Callable
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from moesaic.dataflow.training.mapper import map_step
from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.training.method import Method
from moesaic.models.training.step import STAGES
from moesaic.reports.cli import main
from moesaic.reports.figures import count, percent, short, times
from moesaic.reports.html import build_report
from moesaic.reports.line_chart import line_chart
from moesaic.reports.run_record import UNITS
from moesaic.reports.step_record import load_step
from moesaic.reports.step_summary import step_summary
from moesaic.reports.step_view import step_view
from moesaic.sim.training.experiment import StepOptions, run_steps
from tests.page_tools import HOSTILE, Page
from tests.test_training_step import BATCH, CLASSES, DIM, HEADS, SPEC, TOKENS, small_step

TWO_OF_EIGHT = NM(n=2, m=8)
ROWS = BATCH * TOKENS


@cache
def predicted(method: str = "bdwp", steps: int = 1) -> dict[str, Any]:
    """Return the JSON of steps without RTL, as the command line writes it."""
    options = StepOptions(
        model="vit-mnist",
        accel="tiny-train",
        method=Method(name=method, nm=None if method == "dense" else TWO_OF_EIGHT),
        batch=1,
        backend="model",
        steps=steps,
    )
    return run_steps(options).to_json()


def simulated(**changes: Any) -> dict[str, Any]:
    """Return a step as if the RTL had run and been equal, with some fields changed."""
    content = deepcopy(predicted())
    content |= {"backend": "both", "bit_exact": True, "layers_compared": 9, "cycles_exact": True}
    parts = [content, *content["layers"], *content["stages"].values()]
    for part in parts:
        part["cycles_rtl"] = part["cycles_predicted"]
    return content | changes


def build(folder: Path, content: object) -> Page:
    """Write a step's file and return its page."""
    (folder / "step.json").write_text(json.dumps(content), encoding="utf-8")
    assert build_report(folder) == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "step.json"]
    return Page((folder / "report.html").read_text(encoding="utf-8"))


# ---- the bound, by hand -------------------------------------------------------------------------
def block_macs(mlp: int, fc1: float, fc2: float, square: float) -> float:
    """Return the MACs of a block.

    Each layer has three products; `fc1`, `fc2` and `square` (of q, k, v and proj) are what is kept
    of their MACs, 3 where nothing is pruned. Attention has two products of queries by keys by
    channels forward and four backward, for each head and image.
    """
    attention = 6 * BATCH * HEADS * TOKENS * TOKENS * (DIM // HEADS)
    return 4 * ROWS * DIM * DIM * square + ROWS * DIM * mlp * (fc1 + fc2) + attention


@pytest.mark.parametrize(
    ("method", "mlp", "kept"),
    [
        ("bdwp", 24, (1.5, 1.5, 1.5)),
        ("srste", 24, (2.25, 2.25, 2.25)),
        ("sdwp", 24, (2.25, 2.25, 2.25)),
        ("sdgp", 24, (2.25, 2.25, 2.25)),
        # 8 does not divide 20: fc1's outputs and fc2's inputs stay dense
        ("bdwp", 20, (2.25, 2.25, 1.5)),
        ("srste", 20, (2.25, 3, 2.25)),
        ("sdwp", 20, (3, 2.25, 2.25)),
        ("sdgp", 20, (3, 2.25, 2.25)),
    ],
)
def test_bound_by_hand(
    method: str, mlp: int, kept: tuple[float, float, float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.test_training_step.MLP", mlp)
    _, step = small_step(Method(name=method, nm=TWO_OF_EIGHT))
    notes = map_step(step, SPEC).notes
    # first layer: no gradient of the images; classifier: of the class tokens
    ends = 2 * BATCH * (TOKENS - 1) * DIM * DIM + 3 * BATCH * DIM * CLASSES
    assert sum(note.macs for note in notes) == ends + 2 * block_macs(mlp, *kept)
    dense = ends + 2 * block_macs(mlp, 3, 3, 3)
    assert sum(note.dense_macs for note in notes) == dense
    _, step = small_step(Method())
    assert sum(note.macs for note in map_step(step, SPEC).notes) == dense


# ---- the figures --------------------------------------------------------------------------------
def test_figures_agree_with_each_other() -> None:
    content, alone = predicted(), predicted("dense")
    dense = content["dense"]
    assert dense["cycles_predicted"] == alone["cycles_predicted"]
    assert dense["units"] == alone["units"]
    for name in ("macs", "bytes_read", "bytes_written"):
        assert dense[name] == alone[name]
    assert dense["macs"] == content["dense_macs"] == alone["dense_macs"]
    assert content["speedup"] == dense["cycles_predicted"] / content["cycles_predicted"]
    assert content["bound"] == content["dense_macs"] / content["macs"]
    assert content["of_bound"] == content["speedup"] / content["bound"] < 1
    for rate, macs in (("gops", "macs"), ("dense_equivalent_gops", "dense_macs")):
        assert round(content[rate] * 1e9 * content["latency_s"]) == 2 * content[macs]
    for part in (content, dense):
        assert tuple(part["stages"]) == STAGES
        for rows in (part["stages"].values(), part["layers"]):
            assert sum(row["macs"] for row in rows) == part["macs"]
            assert sum(row["cycles_predicted"] for row in rows) == part["cycles_predicted"]
    for stage in STAGES:
        before, now = dense["stages"][stage], content["stages"][stage]
        assert before["speedup"] == before["cycles_predicted"] / now["cycles_predicted"]
        assert before["macs"] == now["dense_macs"]


def test_each_layer_has_the_bound_of_its_own_products() -> None:
    """A layer's weights are sparse forward and backward; attention, norms and ends are dense."""
    bounds = {(row["name"], row["op"]): row["bound"] for row in predicted()["dense"]["layers"]}
    for layer in ("attn.q", "attn.k", "attn.v", "attn.proj", "mlp.fc1", "mlp.fc2"):
        of_layer = [bounds[f"blocks.1.{layer}", stage] for stage in STAGES[:3]]
        assert of_layer == [4, 4, 1], layer
    for layer in ("patch_embed.proj", "blocks.1.attn", "head"):
        assert bounds[layer, "forward"] == 1
    assert bounds["blocks.1.norm2", "backward"] is None


def test_units_are_busy_as_the_timeline_says(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text(json.dumps(predicted()))
    view = step_view(load_step(tmp_path))
    busy = {unit["unit"]: unit["busy"] for unit in view["data"]["units"]}
    assert busy == predicted()["units"]
    assert set(busy) == set(UNITS)
    assert sum(view["totals"].values()) == predicted()["cycles_predicted"]


def test_causes_of_a_stage_sum_to_its_cycles(tmp_path: Path) -> None:
    (tmp_path / "step.json").write_text(json.dumps(predicted()))
    rows = step_view(load_step(tmp_path))["cause_groups"]["by stage"]
    assert {row["name"]: row["cycles"] for row in rows} == {
        name.replace("_", " "): stage["cycles_predicted"]
        for name, stage in predicted()["stages"].items()
    }


def test_a_dense_step_has_no_counterpart(tmp_path: Path) -> None:
    content = predicted("dense")
    assert [content[name] for name in ("dense", "speedup", "of_bound", "bound")] == [
        *(None, None, None, 1.0)
    ]
    page = build(tmp_path, content)
    assert "Speed-up" not in page.tables["stages"][0]
    assert "speed-up" not in step_summary(content)


def test_a_dense_step_that_does_not_fit_is_a_note(tmp_path: Path) -> None:
    preset = Path(__file__).parents[1] / "models" / "presets" / "tiny-train.yaml"
    text = preset.read_text().replace("weight_lines: 65536", "weight_lines: 1024")
    file = tmp_path / "small.yaml"
    file.write_text(text)
    method = Method(name="bdwp", nm=TWO_OF_EIGHT)
    options = StepOptions(
        model="vit-mnist", accel=str(file), method=method, batch=1, backend="model"
    )
    content = run_steps(options).to_json()
    assert content["dense"] is None
    assert content["bound"] == predicted()["bound"]
    assert "no dense step to compare with: " in content["notes"][0]
    assert content["notes"][0] in step_summary(content)


# ---- the page -----------------------------------------------------------------------------------
def test_page_has_the_figures(tmp_path: Path) -> None:
    content = simulated(notes=["a note"], command="moesaic step it")
    page = build(tmp_path, content)
    dense = content["dense"]
    for wanted in (
        "vit-mnist on tiny-train, bdwp 2:8",
        count(content["cycles_predicted"]),
        times(content["speedup"], 3),
        times(content["bound"], 3),
        f"{percent(content['of_bound'])} of it reached",
        f"{count(dense['cycles_predicted'])} cycles dense, predicted",
        f"{content['gops']:.2f} GOP/s",
        f"{content['dense_equivalent_gops']:.2f} GOP/s",
        f"{short(content['dense_macs'])} MACs if nothing were pruned",
        "at 100 MHz, clock assumed",
        f"{content['loss'][0]:.4f}",
        "a note",
        "moesaic step it",
        *(
            f"{count(peak)} / {count(content['scratchpad_words'][name])}"
            for name, peak in content["scratchpads"].items()
        ),
        *(percent(busy / content["cycles_rtl"]) for busy in content["units"].values()),
    ):
        assert any(wanted in text for text in page.texts), wanted


def numbers(row: list[str | None]) -> list[float | None]:
    """Return the cells of a row that have a number, from the third on."""
    return [float(cell) if cell else None for cell in row[2:] if cell is not None]


def against(stage: dict[str, Any]) -> list[float | None]:
    """Return the cells that compare with the dense step."""
    speedup, bound = stage["speedup"], stage["bound"]
    reached = speedup / bound if speedup and bound else None
    return [stage["cycles_predicted"], speedup, bound, reached]


def test_tables_hold_the_json(tmp_path: Path) -> None:
    content = simulated()
    dense, all_cycles = content["dense"], content["cycles_predicted"]
    page = build(tmp_path, content)
    head, *rows, foot = page.data["stages"]
    assert len(head) == len(foot) == 11
    assert [numbers(row) for row in rows] == [
        [
            *(stage["cycles_predicted"], stage["cycles_rtl"]),
            *(stage["cycles_predicted"] / all_cycles, stage["macs"], stage["dense_macs"]),
            *against(dense["stages"][name]),
        ]
        for name, stage in content["stages"].items()
    ]
    assert page.tables["stages"][-1][-4:] == [
        count(dense["cycles_predicted"]),
        times(content["speedup"]),
        times(content["bound"]),
        percent(content["of_bound"]),
    ]
    rows = page.data["layers"][1:]
    others = {(row["name"], row["op"]): row for row in dense["layers"]}
    assert [numbers(row) for row in rows] == [
        [
            *(row["macs"], row["dense_macs"], row["cycles_predicted"], row["cycles_rtl"]),
            row["cycles_predicted"] / all_cycles,
            *against(others[row["name"], row["op"]]),
            *(row["utilisation"], row["bytes_read"], row["bytes_written"]),
        ]
        for row in content["layers"]
    ]
    assert [text.split()[-1] for text in page.values("data-layer")] == [
        row["name"] for row in content["layers"]
    ]


def test_page_loads_nothing(tmp_path: Path) -> None:
    page = build(tmp_path, simulated())
    assert not page.values("src")
    assert page.values("href") == ["data:,"]


@pytest.mark.parametrize(
    ("changes", "states", "text"),
    [
        ({}, ["pass", "pass"], "9 operations compared: RTL equals the model"),
        ({"overflow": [True]}, ["pass", "pass", "none"], "1 of 1 steps skipped"),
        ({"loss": [None]}, ["pass", "pass"], "not finite"),
        ({"bit_exact": False, "mismatches": 2}, ["fail", "pass"], "2 of 9 operations differ"),
        ({"cycles_exact": False}, ["pass", "fail"], "Cycles not exact"),
    ],
    ids=["equal", "overflow", "nan", "bits", "cycles"],
)
def test_verdicts(changes: dict[str, Any], states: list[str], text: str, tmp_path: Path) -> None:
    content = simulated(**changes)
    page = build(tmp_path, content)
    classes = [name.split() for name in page.values("class")]
    assert [name[1] for name in classes if name[:1] == ["verdict"]] == states
    assert any(text in found for found in page.texts)
    assert "loss" in step_summary(content)


def test_losses_of_steps_are_a_curve(tmp_path: Path) -> None:
    content = predicted(steps=3)
    page = build(tmp_path, content)
    tips = [tip for tip in page.values("data-tip") if tip.startswith("step ")]
    assert tips == [f"step {i}: {loss:.6g}" for i, loss in enumerate(content["loss"], 1)]
    chart = line_chart([2.0, 1.0, None, 0.5, 1.5])
    assert chart
    assert [path.count(",") for path in chart["paths"]] == [2, 2]
    heights = {value: y for _, y, _, value in chart["points"]}
    assert sorted(heights, key=lambda value: -heights[value]) == [0.5, 1.0, 1.5, 2.0]
    assert line_chart([1.0]) is None


def test_text_cannot_break_out(tmp_path: Path) -> None:
    content = simulated(model=HOSTILE, notes=[HOSTILE], command=HOSTILE, failures=[HOSTILE])
    content["layers"][1]["name"] = content["timeline"][1]["node"] = HOSTILE
    hostile, plain = build(tmp_path, content), build(tmp_path, simulated())
    for tag in ("script", "img"):
        assert sum(t == tag for t, _ in hostile.elements) == sum(
            t == tag for t, _ in plain.elements
        )


def _rename_stage(content: dict[str, Any]) -> None:
    content["stages"]["sideways"] = content["stages"].pop("forward")


BAD: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "method": (lambda c: c.pop("method"), "method is missing"),
    "losses": (lambda c: c["loss"].append(1.0), "loss must have one item for each of 1 steps"),
    "stage": (_rename_stage, "stages must name forward, backward, weight_update, optimizer"),
    "layer": (lambda c: c["layers"][0].update(op="up"), "layers must name forward, "),
    "unit": (lambda c: c["units"].update(gpu=1), "units must name load, "),
    "dense": (lambda c: c["dense"].pop("units"), "dense.units is missing"),
    "late": (lambda c: c["timeline"][5].update(end=10**9), "timeline must end before cycle"),
}


@pytest.mark.parametrize(("damage", "line"), BAD.values(), ids=BAD)
def test_refuses_foreign_fields(
    damage: Callable[[dict[str, Any]], object], line: str, tmp_path: Path
) -> None:
    content = deepcopy(predicted())
    damage(content)
    file = tmp_path / "step.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=re.escape(f"{file}: {line}")) as caught:
        build_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


# ---- the command line ---------------------------------------------------------------------------
def test_step_writes_figures_and_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["step", "vgg-digits", "--accel", "tiny-train", "--method", "bdwp", "--nm", "2:8"]
    words += ["--batch", "1", "--backend", "model", "--out", "out", "--json", "step.json"]
    assert main(words) == 0
    text = capsys.readouterr().out
    page = Path("out/report.html").read_text()
    content = json.loads(Path("out/step.json").read_text())
    assert content == json.loads(Path("step.json").read_text())
    assert content["command"] == f"moesaic {' '.join(words)}"
    assert "map the dense step" in text
    assert f"{content['speedup']:.3f} against {content['dense']['cycles_predicted']:,}" in text
    assert f"{content['bound']:.3f} by the MACs" in text
    assert f"{content['of_bound']:.1%} reached" in text
    assert "report: out/report.html" in text
    Path("out/report.html").unlink()
    assert main(["report", "out"]) == 0
    assert Path("out/report.html").read_text() == page
    assert main(words) == 0  # replaces the directory
    assert sorted(path.name for path in Path("out").iterdir()) == ["report.html", "step.json"]
