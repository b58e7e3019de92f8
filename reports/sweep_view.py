"""A sweep as its page shows it: verdicts, best points, influence, and the data of its scripts."""

from collections import Counter
from typing import Any

from moesaic.reports.figures import NONE, duration, short
from moesaic.reports.sweep_influence import VALUES_SHOWN, influence
from moesaic.reports.sweep_peers import comparable, peers_of
from moesaic.reports.sweep_read import Confirmation, Point, Sweep
from moesaic.sim.sweep.evaluate import INTERNAL
from moesaic.sim.sweep.figures import OBJECTIVES

TITLES = {
    "dsp": "DSP",
    "bram36": "BRAM36",
    "lut": "LUT",
    "ff": "FF",
    "throughput": "images/s",
    "energy": "energy (J, estimate)",
}
FLOORS = ("floor_compute", "floor_bandwidth", "cycles")
PROBLEMS_SHOWN = 8
KINDS_SHOWN = 8  # of layers, and all others together
Row = dict[str, Any]


def sweep_view(sweep: Sweep) -> Row:
    """Return everything that the template ``sweep.html.j2`` shows."""
    built = sweep.built
    peers = peers_of(sweep)
    means_same = comparable(sweep)
    goals = sweep.space.objectives
    return {
        "sweep": sweep,
        "title": f"{sweep.space.file.rpartition('/')[2].rpartition('.')[0] or 'sweep'}: "
        f"{len(sweep.points):,} points",
        "jobs": ", ".join(_job(job.model, job.task, job.batch) for job in sweep.space.workloads),
        "verdicts": [rtl_verdict(sweep.verification), _points_verdict(sweep)],
        "feasible": sum(point.feasible for point in sweep.points),
        "unbuilt": len(sweep.points) - len(built),
        "best": [_best(sweep, name) for name in goals],
        "titles": {name: figure_title(name) for name in sweep.figure_names},
        "constraints": {
            name: _constraint(value) for name, value in sweep.space.constraints.items()
        },
        "records": [_record(sweep, record) for record in sweep.verification],
        "breakdowns": sweep.breakdowns,
        "influence": {figure_title(name): influence_rows(sweep, name) for name in goals},
        "values_shown": VALUES_SHOWN,
        "peers": peers,
        "comparable": [figure_title(name) for name in means_same],
        "roofline": has_floors(sweep),
        "problems": Counter(p.problem for p in sweep.points if p.problem).most_common(
            PROBLEMS_SHOWN
        ),
        "data": {
            "parameters": list(sweep.parameters),
            "varied": sweep.varied,
            "figures": sweep.figure_names,
            "objectives": goals,
            "titles": {name: figure_title(name) for name in sweep.figure_names},
            "senses": {name: OBJECTIVES.get(name, 1) for name in sweep.figure_names},
            "roofline": has_floors(sweep),
            "points": [_point(sweep, point) for point in sweep.points],
            "breakdowns": breakdown_bars(sweep),
            "verified": {record.number: record.exact for record in sweep.verification},
            "peers": [
                {
                    "name": peer.name,
                    "figures": {n: v for n, v in peer.figures.items() if n in means_same},
                    "text": f"{peer.board}, {peer.bits} bits\nlatency {duration(peer.latency)}, "
                    f"{peer.mark}\n{peer.source}",
                }
                for peer in peers
            ],
        },
    }


def breakdown_bars(sweep: Sweep) -> Row:
    """Return points of the front, the first on top, and cycles of the kinds of layers that matter.

    The smallest kinds are put together, so that colours can be told apart.
    """
    shown = sweep.breakdowns[::-1]
    totals = Counter[str]()
    for one in shown:
        totals.update(one.cycles)
    largest = [kind for kind, _ in totals.most_common(KINDS_SHOWN)]
    kinds = {kind: [one.cycles.get(kind, 0) for one in shown] for kind in largest}
    rest = [sum(n for kind, n in one.cycles.items() if kind not in kinds) for one in shown]
    if any(rest):
        kinds["all others"] = rest
    return {"points": [one.number for one in shown], "kinds": kinds}


def figure_title(name: str) -> str:
    """Return how a figure is called on an axis."""
    return TITLES.get(name, name.replace("_", " "))


def figure_text(name: str, value: float) -> str:
    """Write a figure's value."""
    return duration(value) if name == "latency" else short(value)


def has_floors(sweep: Sweep) -> bool:
    """Whether points have both floors."""
    return set(FLOORS) <= set(sweep.figure_names)


def rtl_verdict(records: list[Confirmation]) -> Row:
    """Say whether the points that ran on RTL were as the sweep has them."""
    wrong = [record for record in records if not record.exact]
    if not records:
        text = "no point ran on RTL: moesaic sweep --verify K does it"
        return {"state": "none", "head": "Predicted only", "text": text}
    if wrong:
        first = (
            f"; point {wrong[0].number}: {wrong[0].failures[0]:.200}" if wrong[0].failures else ""
        )
        text = f"{len(wrong)} of {len(records)} points differ on RTL{first}"
        return {"state": "fail", "head": "Not confirmed on RTL", "text": text}
    best = sum(record.chosen == "best" for record in records)
    text = (
        f"{len(records)} points ran on RTL ({best} of the best, {len(records) - best} at random): "
    )
    return {"state": "pass", "head": "Confirmed on RTL", "text": text + "all bits and cycles equal"}


def _points_verdict(sweep: Sweep) -> Row:
    internal = [p for p in sweep.points if (p.problem or "").startswith(INTERNAL)]
    if internal:
        text = f"point {internal[0].number}: {internal[0].problem:.200}"
        return {"state": "fail", "head": f"{len(internal)} points failed by an error", "text": text}
    head = f"{len(sweep.front):,} points on the front"
    text = f"no other of {sum(p.feasible for p in sweep.points):,} feasible points is at least as "
    text += f"good in {', '.join(map(figure_title, sweep.space.objectives))} and better in one"
    return {"state": "pass" if sweep.front else "none", "head": head, "text": text}


def _job(model: str, task: int, batch: int) -> str:
    text = f"{model}, task {task}" if task else model
    return f"{text}, batch {batch}" if batch > 1 else text


def _constraint(value: Any) -> str:
    if not isinstance(value, dict):
        return str(value).lower()
    words = {"min": "at least", "max": "at most"}
    return ", ".join(f"{words[n]} {value[n]:,}" for n in words if value.get(n) is not None)


def _best(sweep: Sweep, name: str) -> Row:
    good = [
        (OBJECTIVES[name] * (p.figures or {})[name], p.number) for p in sweep.built if p.feasible
    ]
    value, number = min(good, default=(None, None))
    text = NONE if value is None else figure_text(name, OBJECTIVES[name] * value)
    return {"name": figure_title(name), "text": text, "number": number}


def _record(sweep: Sweep, record: Confirmation) -> Row:
    (point,) = (point for point in sweep.points if point.number == record.number)
    varied = " ".join(f"{name}={value_text(point.parameters[name])}" for name in sweep.varied)
    return {"record": record, "varied": varied}


def value_text(value: Any) -> str:
    """Write a parameter's value."""
    return " ".join(map(str, value)) or "none" if isinstance(value, list) else str(value)


def influence_rows(sweep: Sweep, name: str) -> list[Row]:
    """Return the parameters by their share, each with bars of its means on one scale."""
    effects = sorted(influence(sweep, name), key=lambda effect: -(effect.share or 0))
    longest = max((mean.mean for effect in effects for mean in effect.means), default=0) or 1
    return [
        {
            "parameter": effect.parameter,
            "share": effect.share,
            "values": len(effect.means),
            "means": [
                {
                    "value": value_text(mean.value),
                    "share": max(mean.mean / longest, 0),
                    "points": mean.points,
                    "text": figure_text(name, mean.mean),
                }
                for mean in effect.means[:VALUES_SHOWN]
            ],
        }
        for effect in effects
    ]


def _point(sweep: Sweep, point: Point) -> list[Any]:
    """Return number, state (0 unbuilt, 1 infeasible, 2 feasible, 3 front), values, figures, why."""
    state = 3 if point.front else 2 if point.feasible else 1 if point.figures else 0
    figures = point.figures and [point.figures[name] for name in sweep.figure_names]
    why = point.problem or ", ".join(point.violated)
    return [point.number, state, [point.parameters[n] for n in sweep.parameters], figures, why]
