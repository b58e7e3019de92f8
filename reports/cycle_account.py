"""Where the cycles went: each cycle of a run belongs to one cause and one layer."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from moesaic.reports.run_record import Bar


class Cause(StrEnum):
    """What a cycle was spent on; an earlier cause hides a later one."""

    PRODUCT = "product"  # the array multiplies
    VECTOR = "vector"  # the vector unit works and the array does not
    MEMORY = "memory"  # data are being loaded, in a step stored too, and nothing computes
    OTHER = "other"  # start, drain, hand-over, a run's stores


CAUSES = {
    Cause.PRODUCT: "product busy",
    Cause.VECTOR: "vector unit exposed",
    Cause.MEMORY: "waiting for memory",
    Cause.OTHER: "other",
}
OF_RUN = ((Cause.PRODUCT, "stream"), (Cause.VECTOR, "vector"), (Cause.MEMORY, "load"))
OF_STEP = (*OF_RUN[:2], (Cause.MEMORY, "store"), OF_RUN[2])  # a step's stores are long


@dataclass(frozen=True, slots=True)
class Segment:
    """Cycles `start` to `stop`, the latter excluded, of one layer."""

    start: int
    stop: int
    node: str
    cause: Cause


def busy_cycles(bars: Iterable[Bar], cycles: int) -> int:
    """Return in how many of `cycles` at least one of the bars runs."""
    return sum(s.stop - s.start for s in _union(bars, cycles, Cause.OTHER))


def account(
    timeline: Iterable[Bar], cycles: int, causes: Iterable[tuple[Cause, str]] = OF_RUN
) -> list[Segment]:
    """Split cycles 0 to `cycles` into segments in order, without gap or overlap.

    `causes` are the units that claim a cycle, the first one first, with what they stand for. Cycles
    that no cause claims are `OTHER` and belong to the layer that comes next, at the end to the last
    one.
    """
    bars = list(timeline)
    taken: list[Segment] = []
    for cause, unit in causes:
        claimed = _union((bar for bar in bars if bar.unit == unit), cycles, cause)
        taken = sorted([*taken, *_without(claimed, taken)], key=lambda s: s.start)
    return _fill(taken, cycles)


def by_node(segments: Iterable[Segment]) -> dict[str, dict[Cause, int]]:
    """Return the cycles of each layer and cause, layers in the order in which they begin."""
    out: dict[str, dict[Cause, int]] = {}
    for segment in segments:
        causes = out.setdefault(segment.node, dict.fromkeys(Cause, 0))
        causes[segment.cause] += segment.stop - segment.start
    return out


def _union(bars: Iterable[Bar], cycles: int, cause: Cause) -> list[Segment]:
    """Return the bars without overlap; a shared cycle belongs to the bar that began first."""
    out: list[Segment] = []
    reached = 0
    for bar in sorted(bars, key=lambda b: (b.start, b.end)):
        start, stop = max(bar.start, reached), min(bar.end + 1, cycles)
        if stop > start:
            out.append(Segment(start, stop, bar.node, cause))
            reached = stop
    return out


def _without(segments: list[Segment], taken: list[Segment]) -> list[Segment]:
    """Return the parts of `segments` outside `taken`; both in order and without overlap."""
    out: list[Segment] = []
    first = 0
    for segment in segments:
        while first < len(taken) and taken[first].stop <= segment.start:
            first += 1
        start, place = segment.start, first
        while place < len(taken) and taken[place].start < segment.stop:
            if taken[place].start > start:
                out.append(Segment(start, taken[place].start, segment.node, segment.cause))
            start = taken[place].stop
            place += 1
        if start < segment.stop:
            out.append(Segment(start, segment.stop, segment.node, segment.cause))
    return out


def _fill(taken: list[Segment], cycles: int) -> list[Segment]:
    """Put `OTHER` between segments."""
    out: list[Segment] = []
    reached = 0
    for segment in taken:
        if segment.start > reached:
            out.append(Segment(reached, segment.start, segment.node, Cause.OTHER))
        out.append(segment)
        reached = segment.stop
    if reached < cycles:
        node = taken[-1].node if taken else ""
        out.append(Segment(reached, cycles, node, Cause.OTHER))
    return out
