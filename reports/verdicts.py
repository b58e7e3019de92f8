"""What the head of a page says: bits, cycles, and the distance from the floors."""

from typing import Any

from moesaic.reports.run_record import Measured

Row = dict[str, Any]


def bits_verdict(run: Measured, *, what: str = "layers", model: str = "integer model") -> Row:
    """Say whether all was compared and equal; `what` is compared with `model`."""
    if run.bit_exact:
        text = f"{run.layers_compared} {what} compared: RTL equals the {model}"
        return {"state": "pass", "head": "Bit exact", "text": text}
    if run.mismatch_count:
        text = f"{run.mismatch_count} of {run.layers_compared} {what} differ"
        return {
            "state": "fail",
            "head": "Not bit exact",
            "text": _with_first(text, run, timing=False),
        }
    text = "nothing was compared: the RTL did not run"
    if run.layers_compared:
        text = f"{run.layers_compared} {what} compared, not all of them"
    return {"state": "none", "head": "Bits not compared", "text": text}


def cycles_verdict(run: Measured) -> Row:
    """Say whether RTL took the predicted cycles."""
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


def floor_bars(run: Measured) -> Row:
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


def _with_first(text: str, run: Measured, *, timing: bool) -> str:
    """Add the first failure that is, or is not, about cycles."""
    found = [line for line in run.failures if ("cycle" in line) == timing]
    return f"{text}; {found[0]:.200}" if found else text
