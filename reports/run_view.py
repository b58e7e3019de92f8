"""A run as its page shows it: verdicts, groups of layers, bars and their lengths."""

import math
import shlex
from collections import Counter
from typing import Any

from moesaic.reports.cycle_account import CAUSES, Cause, account, by_node
from moesaic.reports.groups import block_of, grouped, kind_of
from moesaic.reports.run_record import Run
from moesaic.reports.timeline_view import timeline_view
from moesaic.reports.verdicts import bits_verdict, cycles_verdict, floor_bars

LARGEST_DB = 200.0  # of a layer without any error
Row = dict[str, Any]


def run_view(run: Run) -> Row:
    """Return everything that the template ``run.html.j2`` shows."""
    causes = by_node(account(run.timeline, run.cycles)) if run.timeline else {}
    return {
        "run": run,
        "title": f"{run.model} on {run.accel}",
        "verdicts": [bits_verdict(run), cycles_verdict(run)],
        "command": run.command or _command(run),
        "floors": floor_bars(run),
        "causes": CAUSES,
        "totals": {cause: sum(node[cause] for node in causes.values()) for cause in Cause},
        "groups": {
            "by block": grouped(causes, Cause, block_of),
            "by kind of layer": grouped(causes, Cause, kind_of),
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


def flat(values: Row, prefix: str = "") -> list[tuple[str, Any]]:
    """Return the leaves of nested objects with their dotted names."""
    out: list[tuple[str, Any]] = []
    for name, value in values.items():
        inside = f"{prefix}{name}"
        out += flat(value, f"{inside}.") if isinstance(value, dict) else [(inside, value)]
    return out


def _command(run: Run) -> str:
    words = ["moesaic", "run", run.model, "--accel", run.accel, "--backend", run.backend]
    words += ["--images", str(run.images), "--batch", str(run.batch), "--seed", str(run.seed)]
    words += ["--stall", f"{run.stall:g}"] if run.stall else []
    return shlex.join(words)


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
