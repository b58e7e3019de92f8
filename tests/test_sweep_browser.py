"""The page of a sweep in a browser: points, tips, the chosen one, filters, downloads."""

import csv
import io
import json
import re
from pathlib import Path

import pytest

from moesaic.reports.html import build_report
from tests.page_tools import in_browser
from tests.sweep_report_cases import confirmed, made_up

DRAWN = "document.documentElement.dataset.drawn"
CHECKS = """
const plots = [...document.querySelectorAll(".js-plotly-plot")];
out.plots = plots.length;
const [pareto] = plots;
const numbers = pareto.data.flatMap((trace) => trace.customdata ?? []).filter(Number.isInteger);
out.points = new Set(numbers).size;
out.dots = pareto.querySelectorAll(".scatterlayer path.point").length;
const cycles = document.getElementById("breakdown");
out.bars = cycles.querySelectorAll(".barlayer .point").length;
out.kinds = cycles.data.length;
out.peers = pareto.data.filter((trace) => trace.name === "published").length;

const front = [...pareto.querySelectorAll(".scatterlayer .trace")]
  .map((trace) => [...trace.querySelectorAll("path.point")])
  .find((points, place) => pareto.data[place].name === "front of all objectives");
front[0].scrollIntoView({ block: "center" });
const box = front[0].getBoundingClientRect();
const at = { clientX: box.left + box.width / 2, clientY: box.top + box.height / 2, bubbles: true };
pareto.querySelector(".nsewdrag").dispatchEvent(new MouseEvent("mousemove", at));
out.tip = document.getElementById("tip").textContent;

document.querySelector("[data-point]").click();
out.chosen = document.getElementById("point-head").textContent;
out.figures = document.querySelectorAll("#point-figures div").length;

const set = (id, value, type = "input") => {
  const field = document.getElementById(id);
  if (field.type === "checkbox") field.checked = value;
  else field.value = value;
  field.dispatchEvent(new Event(type, { bubbles: true }));
};
const rows = () => document.querySelectorAll("#points tbody tr").length;
out.rows = rows();
document.getElementById("points-more").click();
out.more = rows();
set("points-filter", "rows=16 feasible");
set("bound-figure", "dsp");
set("bound-max", "512");
out.found = document.getElementById("points-found").textContent;
document.querySelectorAll("#points th button")[2].click();
document.querySelectorAll("#points th button")[0].click();
document.querySelectorAll("#points th button")[0].click();
out.first = Number(document.querySelector("#points tbody button").textContent);

const Real = Blob;
window.Blob = class extends Real {
  constructor(parts, options) {
    super(parts, options);
    out[options.type] = parts.join("");
  }
};
out.links = [...document.querySelectorAll("a[data-download]")].map((link) => {
  link.addEventListener("click", (event) => event.preventDefault());
  link.click();
  return link.href.slice(0, 5);
});
set("infeasible", true, "change");
out.hidden = pareto.data.every((trace) => trace.name !== "infeasible");
out.sideways = document.documentElement.scrollWidth > innerWidth;
"""


@pytest.mark.nightly
@pytest.mark.parametrize("width", [1300, 500])
def test_sweep_in_a_browser(width: int, tmp_path: Path) -> None:
    content = made_up(1250)
    content["verification"] = [confirmed(content)]
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    page = build_report(tmp_path).read_text()
    out = in_browser(page, CHECKS, tmp_path, width, when=DRAWN)
    built = [point for point in content["points"] if point["figures"]]
    assert (out["plots"], out["points"]) == (3, len(built))
    assert (out["bars"], out["kinds"]) == (3 * 9, 9)  # eight kinds and all others
    assert out["dots"] >= len(built)
    assert out["peers"] == 3
    lines = out["tip"].splitlines()
    number, state = re.fullmatch(r"point (\d+), (.*)", lines[0]).groups()  # type: ignore[union-attr]
    point = content["points"][int(number)]
    assert point["figures"]
    assert state in ("feasible", "on the front", "on the front, exact on RTL")
    assert f"DSP: {point['figures']['dsp']:,}" in lines
    assert f"bus_bytes {point['parameters']['bus_bytes']}" in lines
    fastest = min(
        (p for p in built if p["feasible"]), key=lambda p: (p["figures"]["latency"], p["number"])
    )
    assert out["chosen"] == f"Point {fastest['number']}"
    assert out["figures"] == 9  # seven of the file, what it is bound by, share of the peak
    assert (out["rows"], out["more"]) == (200, 400)
    wanted = [
        p["number"]
        for p in built
        if p["parameters"]["rows"] == 16 and p["feasible"] and p["figures"]["dsp"] <= 512
    ]
    assert out["found"] == f"{len(wanted)} of 1,250 points, {len(wanted)} drawn"
    assert out["first"] == max(wanted)
    assert out["links"] == ["blob:", "blob:"]
    table = list(csv.DictReader(io.StringIO(out["text/csv"])))
    assert sorted(int(row["number"]) for row in table) == wanted
    for record in json.loads(out["application/json"]):
        point = content["points"][record["number"]]
        assert record["dsp"] == point["figures"]["dsp"]
        assert record["mapping.attention"] == point["parameters"]["mapping.attention"]
    assert out["hidden"]
    assert not out["sideways"]
