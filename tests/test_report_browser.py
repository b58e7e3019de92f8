"""Reports of runs and steps in a browser: they draw, sort, filter, zoom; no console errors."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from moesaic.models.accel import NM
from moesaic.models.training.method import Method
from moesaic.reports.html import build_report
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions
from moesaic.sim.training.experiment import StepOptions, run_steps
from tests.page_tools import in_browser

CHECKS = """
const table = document.getElementById("layers");
const cells = (i) => [...table.tBodies[0].rows].map((row) => Number(row.cells[i].dataset.value));
const canvas = document.getElementById("timeline");
const send = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
  clientX: canvas.getBoundingClientRect().left + x,
  clientY: canvas.getBoundingClientRect().top + y,
  bubbles: true,
}));
const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
out.colours = new Set(new Uint32Array(pixels.buffer)).size;
table.tHead.querySelectorAll("button")[3].click();
out.sorted = cells(3).every((value, i, all) => !i || all[i - 1] >= value);
table.tHead.querySelectorAll("button")[3].click();
out.reversed = cells(3).every((value, i, all) => !i || all[i - 1] <= value);
const filter = document.querySelector("input[type=search]");
filter.value = "WORD";
filter.dispatchEvent(new Event("input"));
out.shown = [...table.tBodies[0].rows].filter((row) => !row.hidden).length;
document.querySelector('[data-shows="groups-2"]').click();
out.switched = document.getElementById("groups-1").hidden;
for (let y = 0; y < canvas.clientHeight && !out.tip; y += 3) {
  send("pointermove", canvas.clientWidth / 2, y);
  if (!document.getElementById("tip").hidden) out.tip = document.getElementById("tip").innerText;
}
document.querySelector('[data-timeline="+"]').click();
out.sideways = document.documentElement.scrollWidth > innerWidth;
out.range = document.getElementById("timeline-range").textContent;
"""


def check(content: dict[str, Any], folder: Path, width: int, word: str) -> int:
    """Build the page of a run or a step, check what it does, and return the rows with `word`."""
    page = build_report(folder).read_text()
    checks = in_browser(page, CHECKS.replace("WORD", word), folder, width)
    assert checks["colours"] > 6
    assert (checks["sorted"], checks["reversed"], checks["switched"]) == (True, True, True)
    assert re.search(r"\ncycles [\d,]+ to [\d,]+\n", checks["tip"])
    half = content["cycles_predicted"] / 2
    first, last = (
        int(text.replace(",", "")) for text in re.findall(r"[\d,]+", checks["range"])[:2]
    )
    assert abs(last - first - half) <= 1
    assert not checks["sideways"]
    return int(checks["shown"])


@pytest.mark.nightly
@pytest.mark.parametrize("width", [1300, 500])
def test_run_in_a_browser(width: int, tmp_path: Path) -> None:
    content = run(RunOptions(model="vit-mnist", accel="tiny", backend="model")).to_json()
    (tmp_path / "run.json").write_text(json.dumps(content))
    shown = check(content, tmp_path, width, "softmax")
    assert shown == sum(layer["op"] == "Softmax" for layer in content["layers"])


@pytest.mark.nightly
@pytest.mark.parametrize("width", [1300, 500])
def test_step_in_a_browser(width: int, tmp_path: Path) -> None:
    options = StepOptions(
        model="vit-mnist",
        accel="tiny-train",
        method=Method(name="bdwp", nm=NM(n=2, m=8)),
        batch=2,
        backend="model",
        steps=2,
    )
    content = run_steps(options).to_json()
    (tmp_path / "step.json").write_text(json.dumps(content))
    shown = check(content, tmp_path, width, "backward")
    assert shown == sum(layer["op"] == "backward" for layer in content["layers"])
