"""The report in a browser: it draws, sorts, filters, zooms, and the console stays empty."""

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path

import pytest

from moesaic.reports.html import build_report
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
CHECKS = """
<script>
const table = document.getElementById("layers");
const cells = (i) => [...table.tBodies[0].rows].map((row) => Number(row.cells[i].dataset.value));
const canvas = document.getElementById("timeline");
const send = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, {
  clientX: canvas.getBoundingClientRect().left + x,
  clientY: canvas.getBoundingClientRect().top + y,
  bubbles: true,
}));
setTimeout(() => {
  const out = {};
  const pixels = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
  out.colours = new Set(new Uint32Array(pixels.buffer)).size;
  table.tHead.querySelectorAll("button")[3].click();
  out.sorted = cells(3).every((value, i, all) => !i || all[i - 1] >= value);
  table.tHead.querySelectorAll("button")[3].click();
  out.reversed = cells(3).every((value, i, all) => !i || all[i - 1] <= value);
  const filter = document.querySelector("input[type=search]");
  filter.value = "softmax";
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
  document.documentElement.dataset.checks = JSON.stringify(out);
}, 500);
</script>
"""


@pytest.mark.nightly
@pytest.mark.parametrize("width", [1300, 500])
def test_page_in_a_browser(width: int, tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        pytest.fail("no browser to look at the report with: apt-get install chromium")
    content = run(RunOptions(model="vit-mnist", accel="tiny", backend="model")).to_json()
    (tmp_path / "run.json").write_text(json.dumps(content))
    page = tmp_path / "page.html"
    page.write_text(build_report(tmp_path).read_text().replace("</body>", f"{CHECKS}</body>"))
    seen = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            *("--enable-logging=stderr", "--v=0", "--virtual-time-budget=4000"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},2000"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert [line for line in seen.stderr.splitlines() if "CONSOLE" in line] == []
    found = re.search(r'data-checks="([^"]*)"', seen.stdout)
    assert found
    checks = json.loads(unescape(found[1]))
    assert checks["colours"] > 6
    assert (checks["sorted"], checks["reversed"], checks["switched"]) == (True, True, True)
    assert checks["shown"] == sum(layer["op"] == "Softmax" for layer in content["layers"])
    assert re.search(r"\ncycles [\d,]+ to [\d,]+\n", checks["tip"])
    half = content["cycles_predicted"] / 2
    first, last = (
        int(text.replace(",", "")) for text in re.findall(r"[\d,]+", checks["range"])[:2]
    )
    assert abs(last - first - half) <= 1
    assert not checks["sideways"]
