"""The page of a sweep: figures of the JSON, influence by hand, hostile and foreign files."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from moesaic.models.errors import InputError
from moesaic.reports.cli import main
from moesaic.reports.html import build_report
from moesaic.reports.json_record import from_json
from moesaic.reports.sweep_influence import influence
from moesaic.reports.sweep_peers import PEERS, comparable, peers_of
from moesaic.reports.sweep_plots import front_of
from moesaic.reports.sweep_read import Sweep
from moesaic.reports.sweep_view import influence_rows
from tests.page_tools import HOSTILE, Page
from tests.sweep_report_cases import confirmed, made_up

JOB = {"model": "m3vit-tiny", "task": 0, "batch": 1}


def read(content: dict[str, Any]) -> Sweep:
    return from_json(Sweep, content, where="sweep.json")


def build(folder: Path, content: object) -> tuple[Page, str]:
    """Write a sweep's file and return its page."""
    (folder / "sweep.json").write_text(json.dumps(content), encoding="utf-8")
    text = build_report(folder).read_text(encoding="utf-8")
    return Page(text), text


def data_of(text: str) -> dict[str, Any]:
    found = re.search(r'id="sweep-data">(.*?)</script>', text)
    assert found
    return dict(json.loads(found[1]))


def test_figures_are_those_of_the_json(tmp_path: Path) -> None:
    content = made_up()
    content["verification"] = [confirmed(content)]
    page, text = build(tmp_path, content)
    data = data_of(text)
    assert data["figures"][:2] == content["space"]["objectives"]
    assert not {"fits", "cycles_by_workload"} & set(data["figures"])
    for point, (number, state, values, figures, why) in zip(
        content["points"], data["points"], strict=True
    ):
        assert (number, values) == (point["number"], list(point["parameters"].values()))
        kind = 3 if point["front"] else 2 if point["feasible"] else 1 if point["figures"] else 0
        assert state == kind
        assert why == (point["problem"] or ", ".join(point["violated"]))
        if point["figures"]:
            assert figures == [point["figures"][name] for name in data["figures"]]
        else:
            assert figures is None
    (row,) = page.tables["confirmed"][1:]
    cycles = f"{content['verification'][0]['cycles'][0]:,}"
    assert row[:5] == [str(content["front"][0]), "best", "bits and cycles exact", cycles, cycles]
    heads = page.tables["points"][0]
    assert heads[:3] == ["Point", "State", "rows"]
    assert len(heads) == 2 + len(content["parameters"]) + len(data["figures"])
    assert "default-src 'none'" in text
    # The plots' script may name addresses, but it is packed; nothing else does.
    assert not re.search(r"https?://|(src|href)=\"(?!data:|#)", text)


@pytest.mark.parametrize(
    ("changes", "state", "words"),
    [
        (None, "none", "no point ran on RTL"),
        ({}, "pass", "all bits and cycles equal"),
        (
            {"exact": False, "failures": ["small: 9 cycles on RTL, not 8"]},
            "fail",
            "9 cycles on RTL",
        ),
    ],
    ids=["none", "exact", "differs"],
)
def test_verdicts(changes: dict[str, Any] | None, state: str, words: str, tmp_path: Path) -> None:
    content = made_up()
    content["verification"] = [] if changes is None else [confirmed(content, **changes)]
    page, _ = build(tmp_path, content)
    classes = [name.split() for name in page.values("class")]
    assert [name[1] for name in classes if name[:1] == ["verdict"]] == [state, "pass"]
    assert any(words in text for text in page.texts)


def test_an_error_of_the_program_is_no_quiet_matter(tmp_path: Path) -> None:
    content = made_up()
    content["points"][4]["problem"] = "internal error: KeyError: 'x'"
    page, _ = build(tmp_path, content)
    assert "1 points failed by an error" in page.texts


# ---- influence, front, peers: by hand -----------------------------------------------------------
def test_shares_of_a_grid() -> None:
    """Cycles 10 a + b over a in 0..1, b in 0..2: variance 25 + 2/3, no part of it together."""
    content = made_up(6, parameters={"a": [0, 1], "b": [0, 1, 2]}, front=[])
    for number, point in enumerate(content["points"]):
        a, b = divmod(number, 3)
        point |= {"parameters": {"a": a, "b": b}, "front": False, "feasible": True, "problem": None}
        point["figures"] = {"latency": 10 * a + b, "dsp": 7}
    first, second = influence(read(content), "latency")
    assert first.share == pytest.approx(25 / (25 + 2 / 3))
    assert second.share == pytest.approx(2 / 3 / (25 + 2 / 3))
    assert [(one.value, one.points, one.mean) for one in second.means] == [
        (0, 2, 5.0),
        (1, 2, 6.0),
        (2, 2, 7.0),
    ]
    assert [effect.share for effect in influence(read(content), "dsp")] == [None, None]
    assert [row["parameter"] for row in influence_rows(read(content), "latency")] == ["a", "b"]


def test_the_front_of_two_figures_is_the_sweeps() -> None:
    content = made_up(400)
    sweep = read(content)
    by_number = {point["number"]: point["figures"] for point in content["points"]}
    wanted = {(by_number[n]["latency"], by_number[n]["dsp"]) for n in content["front"]}
    assert set(front_of(sweep, "latency", "dsp")) == wanted
    more = front_of(sweep, "throughput", "dsp")
    assert {dsp for _, dsp in more} == {dsp for _, dsp in wanted}
    assert more == sorted(more, reverse=True)


def test_peers_have_their_source() -> None:
    text = " ".join((Path(__file__).parents[1] / "docs/comparison.md").read_text().split())
    for peer in PEERS:
        assert peer.name in text
        (paper,) = re.findall(r"arXiv (\S+?)(?:;|,|$)", peer.source)[:1]
        assert paper in text
        assert f"{peer.latency * 1e3:g}" in text
        for amount in (peer.dsp, peer.lut and peer.lut / 1000):
            assert amount is None or re.search(rf"\b{amount:,g}\b|\b{amount:g} k\b", text)


@pytest.mark.parametrize(
    ("jobs", "whole", "figures"),
    [
        ([JOB], [], ["throughput", "latency"]),
        ([JOB, JOB | {"task": 1}], [], ["throughput"]),
        ([JOB | {"batch": 2}], ["dsp"], ["throughput", "dsp"]),
    ],
    ids=["image", "two", "batch"],
)
def test_peers_stand_on_axes_of_the_same_meaning(
    jobs: list[Any], whole: list[str], figures: list[str], tmp_path: Path
) -> None:
    content = made_up(whole_design=whole)
    content["space"]["workloads"] = jobs
    assert comparable(read(content)) == figures
    _, text = build(tmp_path, content)
    found = data_of(text)["peers"]
    assert [peer["name"] for peer in found] == ["Edge-MoE 2023", "UbiMoE 2025", "CoQMoE 2025"]
    assert all(set(peer["figures"]) <= set(figures) for peer in found)
    content["space"]["workloads"] = [*jobs, {"model": "vit-mnist"}]
    assert peers_of(read(content)) == []


# ---- hostile and foreign files ------------------------------------------------------------------
def test_text_cannot_break_out(tmp_path: Path) -> None:
    content = made_up(command=HOSTILE)
    content["verification"] = [confirmed(content, chosen=HOSTILE, exact=False, failures=[HOSTILE])]
    plain, _ = build(tmp_path, content | {"command": "x"})
    content["space"] |= {"file": HOSTILE, "base": HOSTILE, "constraints": {HOSTILE: HOSTILE}}
    content["points"][4]["problem"] = HOSTILE
    content["parameters"] = content["parameters"] | {"rows": [HOSTILE, 8, 16, 32, 64, 128]}
    content["points"][1]["parameters"]["rows"] = HOSTILE
    hostile, text = build(tmp_path, content)
    for tag in ("script", "img"):
        assert sum(t == tag for t, _ in hostile.elements) == sum(
            t == tag for t, _ in plain.elements
        )
    assert data_of(text)["points"][4][4] == HOSTILE


Damage = Callable[[dict[str, Any]], object]
BAD: dict[str, tuple[Damage, str]] = {
    "points": (lambda c: c.pop("points"), "points is missing"),
    "none": (lambda c: c.update(points=[], front=[]), "points must be at least one"),
    "objective": (lambda c: c["space"].update(objectives=["fun"]), "space: objectives must be of"),
    "parameter": (lambda c: c["points"][3]["parameters"].pop("rows"), "points[3].parameters must"),
    "figure": (lambda c: c["points"][3]["figures"].pop("dsp"), "points[3].figures.dsp must be a"),
    "text": (
        lambda c: c["points"][3]["figures"].update(dsp="<"),
        "points[3].figures.dsp must be a",
    ),
    "name": (lambda c: c["points"][0]["figures"].update({"<b>": 1}), "figures: a name must have"),
    "front": (lambda c: c["front"].append(999), "front must hold numbers of points, not 999"),
    "verified": (
        lambda c: c["verification"].append(confirmed(c, number=-1)),
        "verification must hold numbers of points, not -1",
    ),
    "twice": (lambda c: c["points"].append(c["points"][0]), "points must be at least one, each"),
}


@pytest.mark.parametrize(("damage", "line"), BAD.values(), ids=BAD)
def test_refuses_foreign_fields(damage: Damage, line: str, tmp_path: Path) -> None:
    content = made_up()
    damage(content)
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(content))
    with pytest.raises(InputError, match=re.escape(f"{file}: {line}")) as caught:
        build_report(tmp_path)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "report.html").exists()


# ---- the command line ---------------------------------------------------------------------------
def test_figures_for_papers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content = made_up()
    content["verification"] = [confirmed(content)]
    (tmp_path / "sweep.json").write_text(json.dumps(content))
    assert main(["report", str(tmp_path), "--figures"]) == 0
    names = ["front-latency-dsp", "influence-dsp", "influence-latency", "roofline", "breakdown"]
    files = {path.name: path.read_bytes() for path in (tmp_path / "figures").iterdir()}
    assert sorted(files) == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    assert all(data[:4] == b"\x89PNG" for name, data in files.items() if name.endswith("png"))
    assert f"figures: 10 files in {tmp_path}/figures" in capsys.readouterr().out
    assert main(["report", str(tmp_path), "--figures"]) == 0
    for path in (tmp_path / "figures").glob("*.svg"):
        assert path.read_bytes() == files[path.name]
    (tmp_path / "sweep.json").unlink()
    assert main(["report", str(tmp_path), "--figures"]) == 2
    assert "holds no sweep.json" in capsys.readouterr().err
