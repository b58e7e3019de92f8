"""What a sweep leaves beside its store: sweep.json, points.csv, and the front on the terminal."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

from moesaic.reports.files import write_json, write_text
from moesaic.reports.groups import kind_of
from moesaic.sim.sweep.breakdown import Breakdown
from moesaic.sim.sweep.evaluate import INTERNAL
from moesaic.sim.sweep.resources import NAMES, comparable, counted
from moesaic.sim.sweep.run import SweepResult

JSON_FILE, CSV_FILE = "sweep.json", "points.csv"
LISTS = ("cycles_by_workload",)  # figures that a table has no column for
SHOWN = 20  # points of the front that are printed


def write_sweep(folder: Path, result: SweepResult, *, command: str, seconds: float) -> None:
    """Write sweep.json and points.csv."""
    points = point_records(result)
    cpu = sum(one.outcome.seconds for one in result.store.points.values())
    bases = result.space.problem.bases.values()
    content = {
        "space": result.space.source | {"file": str(result.space.file), "size": result.space.size},
        "parameters": {name: list(values) for name, values in result.space.values.items()},
        "resources_count": counted(bases),
        "whole_design": list(NAMES) if comparable(bases) else [],
        "energy_table": result.space.problem.energy.source,
        "points": points,
        "front": result.front,
        "breakdowns": [breakdown_record(one) for one in result.breakdowns],
        "verification": result.verification,
        "verified_exact": all(record["exact"] for record in result.verification)
        if result.verification
        else None,
        "computed": result.computed,
        "seconds": round(seconds, 3),
        "cpu_seconds_of_points": round(cpu, 3),
        "command": command,
    }
    write_json(folder / JSON_FILE, content)
    write_text(folder / CSV_FILE, points_csv(points, list(result.space.values)))


def breakdown_record(one: Breakdown) -> dict[str, Any]:
    """Return a point's cycles by kind of layer: numbers of blocks, heads and experts left out."""
    kinds: dict[str, int] = {}
    for name, cycles in one.cycles.items():
        kind = re.sub(r"[._]\d+(?=[._]|$)", "", kind_of(name))
        kinds[kind] = kinds.get(kind, 0) + cycles
    return {"number": one.number, "cycles": kinds}


def point_records(result: SweepResult) -> list[dict[str, Any]]:
    """Return all points in the order in which they were asked for."""
    on_front = set(result.front)
    out = []
    for one in sorted(result.store.points.values(), key=lambda one: one.number):
        verdict = result.verdicts[one.number]
        out.append(
            {
                "number": one.number,
                "parameters": json.loads(one.key),
                "figures": one.outcome.figures,
                "problem": one.outcome.problem or None,
                "feasible": verdict.feasible,
                "violated": list(verdict.violated),
                "front": one.number in on_front,
                "cpu_seconds": round(one.outcome.seconds, 4),
            }
        )
    return out


def points_csv(points: list[dict[str, Any]], names: list[str]) -> str:
    """Return a row for each point: the parameters `names`, figures, and what is said of it."""
    figures = next((list(p["figures"]) for p in points if p["figures"]), [])
    figures = [name for name in figures if name not in LISTS]
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["number", *names, *figures, "feasible", "front", "problem"])
    for point in points:
        values = point["figures"] or {}
        writer.writerow(
            [
                point["number"],
                *(_cell(point["parameters"][name]) for name in names),
                *(_cell(values.get(name, "")) for name in figures),
                _cell(point["feasible"]),
                _cell(point["front"]),
                point["problem"] or "",
            ]
        )
    return file.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return int(value) if isinstance(value, bool) else value


def print_front(result: SweepResult) -> None:
    """Print the points of the front, by the first objective, and what RTL said."""
    space, store = result.space, result.store
    by_number = {one.number: one for one in store.points.values()}
    verdicts = result.verdicts.values()
    outcomes = [one.outcome for one in by_number.values()]
    unbuilt = sum(outcome.figures is None for outcome in outcomes)
    internal = sum(outcome.problem.startswith(INTERNAL) for outcome in outcomes)
    print(
        f"{len(by_number):,} points, {result.computed:,} of them new; "
        f"{sum(v.feasible for v in verdicts):,} feasible, {unbuilt:,} cannot be built or mapped; "
        f"{len(result.front)} on the front"
    )
    if internal:
        print(f"{internal:,} points failed by an error of this program: see {CSV_FILE}")
    varied = [name for name, values in space.values.items() if len(values) > 1]
    for number in result.front[:SHOWN]:
        figures = by_number[number].outcome.figures or {}
        point = json.loads(by_number[number].key)
        goals = "  ".join(f"{name} {_amount(figures[name])}" for name in space.objectives)
        print(f"  {number:>6}  {goals}  " + " ".join(f"{n}={_cell(point[n])}" for n in varied))
    if len(result.front) > SHOWN:
        print(f"  and {len(result.front) - SHOWN} more in {CSV_FILE}")
    for record in result.verification:
        state = "exact" if record["exact"] else record["failures"][0]
        cycles = sum(record["cycles_rtl"])
        print(f"  RTL: point {record['number']} ({record['chosen']}), {cycles:,} cycles: {state}")


def _amount(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"
