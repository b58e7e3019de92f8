"""reports.html: the page of a run, what it adds up to, what it refuses."""

import json
import re
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from moesaic.models.errors import InputError
from moesaic.reports.cycle_account import Cause
from moesaic.reports.figures import count, duration, percent, short, size
from moesaic.reports.html import build_report
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions
from tests.page_tools import HOSTILE, Page


@cache
def predicted() -> dict[str, Any]:
    """Return the JSON of a run without RTL, as the command line writes it."""
    return run(RunOptions(model="vit-mnist", accel="tiny", backend="model")).to_json()


def simulated(**changes: Any) -> dict[str, Any]:
    """Return a run as if the RTL had run and been equal, with some fields changed."""
    content = deepcopy(predicted())
    content |= {
        "backend": "both",
        "bit_exact": True,
        "layers_compared": len(content["layers"]) - 1,
        "cycles_rtl": content["cycles_predicted"],
        "cycles_exact": True,
    }
    for layer in content["layers"]:
        layer["cycles_rtl"] = layer["cycles_predicted"]
    return content | changes


def build(folder: Path, content: object) -> str:
    """Write a run's file and return its page."""
    (folder / "run.json").write_text(json.dumps(content), encoding="utf-8")
    page = build_report(folder)
    assert page == folder / "report.html"
    assert sorted(path.name for path in folder.iterdir()) == ["report.html", "run.json"]
    return page.read_text(encoding="utf-8")


def test_page_names_figures_and_layers(tmp_path: Path) -> None:
    content = simulated(notes=["a note"], command="moesaic run it", synth={"cells": {"lut": 12345}})
    page = Page(build(tmp_path, content))
    for wanted in (
        "vit-mnist on tiny",
        f"{content['cycles_predicted']:,}",
        f"{content['cycles_floor']['bandwidth']:,}",
        "at 100 MHz, clock assumed",
        percent(content["utilisation"]),
        "a note",
        "moesaic run it",
        "cells.lut",
        "12,345",
    ):
        assert any(wanted in text for text in page.texts), wanted
    assert page.values("data-layer") == [layer["name"] for layer in content["layers"]]


def test_page_loads_nothing(tmp_path: Path) -> None:
    text = build(tmp_path, simulated())
    page = Page(text)
    assert not page.values("src")
    assert page.values("href") == ["data:,"]
    assert not re.search(r"https?:|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)


def test_causes_sum_to_the_cycles(tmp_path: Path) -> None:
    content = simulated()
    page = Page(build(tmp_path, content))
    assert page.values("data-cause") == list(Cause)
    assert sum(map(int, page.values("data-cycles"))) == content["cycles_predicted"]


def test_timeline_of_the_page_is_the_runs(tmp_path: Path) -> None:
    content = simulated()
    text = build(tmp_path, content)
    found = re.search(r'id="timeline-data">(.*?)</script>', text)
    assert found
    data = json.loads(found[1])
    bars = [
        (track["unit"], data["nodes"][node], part, start, stop - 1)
        for track in data["units"]
        for node, part, start, stop, _ in track["bars"]
    ]
    assert sorted(bars) == sorted(
        (b["unit"], b["node"], b["part"], b["start"], b["end"]) for b in content["timeline"]
    )


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ({}, ["pass", "pass"]),
        ({"bit_exact": False, "mismatches": 3, "failures": ["head differs"]}, ["fail", "pass"]),
        ({"cycles_exact": False}, ["pass", "fail"]),
        ({"cycles_exact": False, "stall": 0.25}, ["pass", "none"]),
        ({"bit_exact": False, "cycles_rtl": None, "cycles_exact": None}, ["none", "none"]),
    ],
    ids=["equal", "bits", "cycles", "stalls", "no-rtl"],
)
def test_verdicts(changes: dict[str, Any], states: list[str], tmp_path: Path) -> None:
    page = Page(build(tmp_path, simulated(**changes)))
    classes = [name.split() for name in page.values("class")]
    assert [name[1] for name in classes if name[:1] == ["verdict"]] == states
    for failure in changes.get("failures", ()):
        assert any(failure in text for text in page.texts)


def test_text_cannot_break_out(tmp_path: Path) -> None:
    content = simulated(model=HOSTILE, notes=[HOSTILE], command=HOSTILE, failures=[HOSTILE])
    content["layers"][1]["name"] = content["timeline"][1]["node"] = HOSTILE
    hostile, plain = Page(build(tmp_path, content)), Page(build(tmp_path, simulated()))
    for tag in ("script", "img"):
        assert sum(t == tag for t, _ in hostile.elements) == sum(
            t == tag for t, _ in plain.elements
        )


def test_little_is_enough(tmp_path: Path) -> None:
    content = simulated(accuracy=None, timeline=[], scratchpads={}, seconds={}, layers=[])
    page = Page(build(tmp_path, content))
    assert "timeline" not in page.values("id")
    assert page.values("data-cause") == []


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "type": ({"macs": "many"}, "macs must be an integer, not 'many'"),
    "bool": ({"bit_exact": 1}, "bit_exact must be true or false, not 1"),
    "null": ({"cycles_predicted": None}, "cycles_predicted must be an integer, not None"),
    "zero": ({"cycles_predicted": 0}, "cycles_predicted must be at least 1, not 0"),
    "layers": ({"layers": [{"name": "a"}]}, "layers[0].op is missing"),
    "floors": ({"cycles_floor": {"compute": []}}, "cycles_floor.compute must be a number, not []"),
    "accuracy": ({"accuracy": 3}, "accuracy must be an object or null, not 3"),
    "unit": (
        {"timeline": [{"unit": "gpu", "node": "a", "start": 0, "end": 1}]},
        "timeline[0]: unit must be one of load, store, stationary, stream, vector, not 'gpu'",
    ),
    "backwards": (
        {"timeline": [{"unit": "load", "node": "a", "start": 2, "end": 1}]},
        "timeline[0]: end must be at least start and start at least 0, not 2 and 1",
    ),
    "late": (
        {"cycles_predicted": 5, "cycles_rtl": None},
        "timeline must end before cycle 5, not in ",
    ),
}


@pytest.mark.parametrize(("changes", "line"), BAD.values(), ids=BAD)
def test_refuses_foreign_fields(changes: dict[str, Any], line: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_text(json.dumps(simulated(**changes)))
    with pytest.raises(InputError, match=re.escape(f"{file}: {line}")) as caught:
        build_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "must be JSON, but "),
        ('{"model": "a", "lay', "must be JSON, but "),
        ("\x00\xff", "must be JSON, but "),
        ("[" * 100_000, "must be JSON, but "),
        ('{"model": NaN}', "must be JSON, but it holds NaN"),
        ("[]", "it must be an object, not []"),
        ("{}", "model is missing"),
    ],
    ids=["empty", "truncated", "binary", "deep", "nan", "list", "foreign"],
)
def test_refuses_foreign_files(text: str, line: str, tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=re.escape(f"{file}: {line}")) as caught:
        build_report(tmp_path)
    assert "\n" not in str(caught.value)


def test_refuses_missing_directories(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="must be the directory of a run"):
        build_report(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"run\.json: cannot be read: No such file"):
        build_report(tmp_path)


def test_figures() -> None:
    assert [short(x) for x in (0, 12, 999, 999.6, 7_884_416)] == [
        *("0", "12", "999", "1 k", "7.88 M")
    ]
    assert [size(x) for x in (32, 1024, 6_179_072)] == ["32 bytes", "1.0 KiB", "5.9 MiB"]
    assert [duration(x) for x in (2, 0.00135, 4.067e-6, 5e-9)] == [
        *("2 s", "1.35 ms", "4.067 µs", "5 ns")
    ]
    assert (count(135006), count(None), percent(0.9125)) == ("135,006", "\N{EN DASH}", "91.2 %")
