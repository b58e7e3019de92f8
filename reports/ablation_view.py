"""An ablation as its page shows it: verdict, rows with bars, and the chart of bytes per beat."""

import math
from typing import Any

from moesaic.reports.ablation_record import Ablation, AblationRow, BandwidthRow

SHOWN = ("dsp", "mult18", "bram36", "ebr", "lut", "lut4", "ff")
WIDTH, HEIGHT = 780, 300  # of the chart, in its own units
LEFT, RIGHT, TOP, BOTTOM = 64, 210, 14, 44
COLOURS = {"shared": "stream", "plain": "load"}
LABELS = {"shared": "tiles shared by all queries", "plain": "row after row of queries"}
Row = dict[str, Any]


def ablation_view(ablation: Ablation) -> Row:
    """Return everything that the template ``ablation.html.j2`` shows."""
    return {
        "ablation": ablation,
        "title": f"What each technique gains: {ablation.model} on {ablation.accel}",
        "verdict": _verdict(ablation),
        "names": [name for name in SHOWN if name in (ablation.rows[0].resources or {})],
        "longest": max(row.cycles for row in ablation.rows),
        "over": [_over(ablation, row) for row in ablation.rows],
        "chart": _chart(ablation.bandwidth) if ablation.bandwidth else None,
    }


def _verdict(ablation: Ablation) -> Row:
    if ablation.failures:
        return {"state": "fail", "head": "Not exact", "text": ablation.failures[0][:300]}
    if any(row.cycles_rtl is None for row in ablation.rows):
        return {"state": "none", "head": "Predicted only", "text": "the RTL did not run"}
    text = "every row was compared on RTL: all bits equal, all cycles as predicted"
    return {"state": "pass", "head": "Exact", "text": text}


def _over(ablation: Ablation, row: AblationRow) -> list[str]:
    """Return the resources of which a row takes more than the part has."""
    used = row.resources or {}
    return [name for name, limit in ablation.limits.items() if used.get(name, 0) > limit]


def _chart(rows: list[BandwidthRow]) -> Row:
    """Return lines, points and ticks in the chart's units; both axes are logarithmic."""
    low = math.floor(math.log2(min(row.bytes_per_beat for row in rows)))
    high = math.ceil(math.log2(max(row.bytes_per_beat for row in rows)))
    columns = sorted({row.columns for row in rows})
    first, last = math.log2(columns[0]), math.log2(columns[-1])

    def x(value: float) -> float:
        share = (math.log2(value) - first) / max(last - first, 1)
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(value: float) -> float:
        share = (math.log2(value) - low) / max(high - low, 1)
        return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)

    lines = []
    for order in dict.fromkeys(row.order for row in rows):
        mine = sorted((row for row in rows if row.order == order), key=lambda row: row.columns)
        points = [(x(row.columns), y(row.bytes_per_beat), row) for row in mine]
        lines.append(
            {
                "order": order,
                "label": LABELS.get(order, order),
                "colour": COLOURS.get(order, "other"),
                "path": " ".join(f"{px},{py}" for px, py, _ in points),
                "points": points,
                "end": points[-1][:2],
            }
        )
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "lines": lines,
        "columns": [(x(value), value) for value in columns],
        "ticks": [(y(2.0**power), 2**power) for power in range(low, high + 1)],
    }
