"""A run as its page shows it: verdicts, groups of layers, bars and their lengths."""

import math
import re
import shlex
from collections import Counter
from collections.abc import Callable
from typing import Any

from moesaic.reports.cycle_account import Cause, account, by_node
from moesaic.reports.run_record import Run
from moesaic.reports.timeline_view import timeline_view

GROUPS = 40  # more make no picture
LARGEST_DB = 200.0  # of a layer without any error
CAUSES = {
    Cause.PRODUCT: "product busy",
    Cause.VECTOR: "vector unit exposed",
    Cause.MEMORY: "waiting for memory",
    Cause.OTHER: "other",
}
Row = dict[str, Any]


def run_view(run: Run) -> Row:
    """Return everything that the template ``run.html.j2`` shows."""
    causes = by_node(account(run.timeline, run.cycles)) if run.timeline else {}
    return {
        "run": run,
        "title": f"{run.model} on {run.accel}",
        "verdicts": [_bits(run), _cycles(run)],
        "command": run.command or _command(run),
        "floors": _floors(run),
        "causes": CAUSES,
        "totals": {cause: sum(node[cause] for node in causes.values()) for cause in Cause},
        "groups": {
            "by block": _grouped(causes, block_of),
            "by kind of layer": _grouped(causes, kind_of),
        },
        "longest_layer": max([1, *(layer.cycles_predicted for layer in run.layers)]),
        "errors": _errors(run),
        "seconds": {name: s for name, s in run.seconds.items() if s},
        "tools": {
            title: flat(values)
            for title, values in (
                ("Synthesis", run.synth),
                ("Place and route", run.pnr),
                ("Accelerator", run.accelerator),
            )
            if values
        },
        "data": timeline_view(run) if run.timeline else None,
    }


def block_of(name: str) -> str:
    """Return the block of a layer: its name up to the first number, or its first part."""
    text = name.strip("/.")
    match = re.match(r"(.*?(?:^|[./_])\d+)(?=[./_]|$)", text)
    return match[1] if match else re.split(r"[./]", text)[0]


def kind_of(name: str) -> str:
    """Return the name of a layer without its block's number."""
    text = name.strip("/.")
    match = re.match(r".*?(?:^|[./_])\d+[./_](.+)", text)
    return match[1] if match else text


def flat(values: Row, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested objects with their dotted names."""
    out: list[tuple[str, Any]] = []
    for name, value in values.items():
        inside = f"{prefix}{name}"
        out += flat(value, f"{inside}.") if isinstance(value, dict) else [(inside, value)]
    return out


def _bits(run: Run) -> Row:
    if run.bit_exact:
        text = f"{run.layers_compared} layers compared: RTL equals the integer model"
        return {"state": "pass", "head": "Bit exact", "text": text}
    if run.mismatch_count:
        text = f"{run.mismatch_count} of {run.layers_compared} layers differ"
        return {
            "state": "fail",
            "head": "Not bit exact",
            "text": _with_first(text, run, timing=False),
        }
    text = "no layer was compared: the RTL did not run"
    if run.layers_compared:
        text = f"{run.layers_compared} layers compared, not all of them"
    return {"state": "none", "head": "Bits not compared", "text": text}


def _cycles(run: Run) -> Row:
    if run.same_cycles is None:
        text = f"{run.cycles_predicted:,} predicted; the RTL did not run"
        return {"state": "none", "head": "Cycles predicted only", "text": text}
    if run.same_cycles:
        text = f"{run.cycles_rtl:,} predicted, the same counted in RTL"
        return {"state": "pass", "head": "Cycles exact", "text": text}
    text = f"{run.cycles_predicted:,} predicted, {run.cycles_rtl:,} counted in RTL"
    if run.stall:
        text += f", whose memory stalled at random ({run.stall:g})"
        return {"state": "none", "head": "Cycles with stalls", "text": text}
    return {
        "state": "fail",
        "head": "Cycles not exact",
        "text": _with_first(text, run, timing=True),
    }


def _with_first(text: str, run: Run, *, timing: bool) -> str:
    """Add the first failure that is, or is not, about cycles."""
    found = [line for line in run.failures if ("cycle" in line) == timing]
    return f"{text}; {found[0]:.200}" if found else text


def _command(run: Run) -> str:
    words = ["moesaic", "run", run.model, "--accel", run.accel, "--backend", run.backend]
    words += ["--images", str(run.images), "--batch", str(run.batch), "--seed", str(run.seed)]
    words += ["--stall", f"{run.stall:g}"] if run.stall else []
    return shlex.join(words)


def _floors(run: Run) -> Row:
    """Return the bars of the picture and the distance from the highest floor."""
    bars = [
        ("compute floor", run.cycles_floor.get("compute"), "stream"),
        ("bandwidth floor", run.cycles_floor.get("bandwidth"), "load"),
        ("predicted", run.cycles_predicted, "ink"),
        ("RTL", run.cycles_rtl, "ink"),
    ]
    floor = run.cycles_floor.get("max") or 0
    known = {name: value for name, value, _ in bars[:2] if value is not None}
    return {
        "bars": [bar for bar in bars if bar[1] is not None],
        "longest": max(value for _, value, _ in bars if value is not None),
        "bound": max(known, key=lambda name: known[name]) if known else "floor",
        "above": run.cycles / floor - 1 if floor > 0 else None,
    }


def _grouped(causes: dict[str, dict[Cause, int]], group_of: Callable[[str], str]) -> list[Row]:
    """Return groups with their cycles by cause; the smallest of too many are put together."""
    sums: dict[str, dict[Cause, int]] = {}
    for node, cycles in causes.items():
        _add(sums.setdefault(group_of(node), dict.fromkeys(Cause, 0)), cycles)
    if len(sums) > GROUPS:
        kept = sorted(sums, key=lambda name: -sum(sums[name].values()))[: GROUPS - 1]
        rest = dict.fromkeys(Cause, 0)
        for name in set(sums) - set(kept):
            _add(rest, sums[name])
        sums = {name: sums[name] for name in sums if name in kept} | {"all others": rest}
    longest = max((sum(c.values()) for c in sums.values()), default=1)
    return [
        {"name": name, "causes": c, "cycles": sum(c.values()), "longest": longest}
        for name, c in sums.items()
    ]


def _add(total: dict[Cause, int], more: dict[Cause, int]) -> None:
    for cause, cycles in more.items():
        total[cause] += cycles


def _errors(run: Run) -> Row:
    """Return the layers that have a float counterpart and the scales of the two charts."""
    layers = [layer for layer in run.layers if layer.float_error is not None]
    errors = [layer.float_error for layer in layers if layer.float_error is not None]
    decibels = [error.sqnr_db for error in errors if error.sqnr_db < LARGEST_DB]
    blocks = Counter(block_of(layer.name) for layer in layers)
    sizes = [error.max_abs for error in errors if error.max_abs > 0] or [1.0]
    low, high = math.floor(math.log10(min(sizes))), math.ceil(math.log10(max(sizes)))
    high = max(high, low + 1)
    step = -(-(high - low) // 6)

    def place(value: float) -> str:
        return f"{100 * (math.log10(value) - low) / (high - low):.2f}"

    return {
        "layers": layers,
        "blocks": blocks,
        "top_db": 10 * math.ceil(max([10.0, *decibels]) / 10),
        "decades": [
            {"at": place(10.0**e), "text": f"{10.0**e:g}"} for e in range(low, high + 1, step)
        ],
        "place": place,
    }
