"""The timeline as the page's script takes it: tracks, lanes, bars as short lists."""

from collections.abc import Iterable
from typing import Any

from moesaic.reports.cycle_account import busy_cycles
from moesaic.reports.run_record import UNITS, Bar, Measured

MAX_LANES = 4
TITLES = {
    "load": "Load",
    "store": "Store",
    "stationary": "Weights into the array",
    "stream": "Products",
    "vector": "Vector unit",
}


def timeline_view(run: Measured) -> dict[str, Any]:
    """Return what ``timeline.js`` draws.

    ``nodes`` are the names of layers; each unit has ``bars`` of place in nodes, part, start, stop
    (excluded) and lane, in the order of their starts.
    """
    nodes: dict[str, int] = {}
    for bar in run.timeline:
        nodes.setdefault(bar.node, len(nodes))
    units = []
    for unit in UNITS:
        bars = sorted((b for b in run.timeline if b.unit == unit), key=lambda b: (b.start, b.end))
        if not bars:
            continue
        lanes = assign_lanes(bars)
        units.append(
            {
                "unit": unit,
                "title": TITLES[unit],
                "busy": busy_cycles(bars, run.cycles),
                "lanes": max(lanes) + 1,
                "bars": [
                    [nodes[bar.node], bar.part, bar.start, bar.end + 1, lane]
                    for bar, lane in zip(bars, lanes, strict=True)
                ],
            }
        )
    return {"cycles": run.cycles, "hertz": run.clock_hz, "nodes": list(nodes), "units": units}


def assign_lanes(bars: Iterable[Bar]) -> list[int]:
    """Return a lane for each bar, the first in which it fits.

    A bar fits where it hides less than a quarter of itself and of the bar before it, as the
    latency of back-to-back products does.
    """
    ends: list[tuple[int, int]] = []  # end and length of the last bar of each lane
    out = []
    for bar in bars:
        length = bar.end + 1 - bar.start
        lane = next(
            (
                i
                for i, (end, before) in enumerate(ends)
                if 4 * (end - bar.start) <= min(length, before)
            ),
            len(ends),
        )
        if lane == MAX_LANES:
            lane = min(range(MAX_LANES), key=lambda i: ends[i][0])
        if lane == len(ends):
            ends.append((0, 0))
        ends[lane] = (bar.end + 1, length)
        out.append(lane)
    return out
