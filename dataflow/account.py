"""What cycles, bytes and MACs are spent on, layer by layer, and how few cycles there could be."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.program import Program
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.graph import Constant, Input

OWNERS = (Unit.STREAM, Unit.VECTOR, Unit.STORE, Unit.LOAD)  # who comes first where units overlap
Span = tuple[int, int, str]  # first cycle, end, node


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """Cycles that no schedule can go below: those of the MACs and those of the bytes."""

    compute: int
    bandwidth: int

    @property
    def max(self) -> int:
        """The larger one."""
        return max(self.compute, self.bandwidth)


def executed_macs(program: Program) -> dict[str, int]:
    """Return the MACs that the array executes for each node, over all images of the batch."""
    macs: dict[str, int] = {node.name: 0 for node in program.graph.nodes}
    for note in program.notes:
        if note.macs:
            macs[note.node] += note.macs
    return macs


def floor(program: Program, timing: Timing) -> Floor:
    """Return the floor of a program: all MACs at the array's peak, all bytes at the memory's rate.

    Reads and writes have a channel each; a channel is no faster than its bus.
    """
    return floor_of(program.spec, sum(executed_macs(program).values()), timing)


def floor_of(spec: AccelSpec, macs: int, timing: Timing) -> Floor:
    """Return the floor of so many MACs, and of the bytes of a run."""
    rate = min(spec.memory.rate, Fraction(spec.bus_bytes))
    return Floor(
        compute=-(-macs // spec.macs_per_cycle),
        bandwidth=ceil(max(timing.bytes_read, timing.bytes_written) / rate),
    )


def layer_cycles(
    program: Program, accepted: Sequence[int], done: Sequence[int], cycles: int
) -> dict[str, int]:
    """Return each node's cycles; their sum is `cycles`.

    Units overlap, so a cycle goes to one of those at work: the product, if there is one, else the
    vector unit's row operation, else the store, else the copy of the input or of a constant. A
    cycle in which none is at work is spent waiting for what comes next.
    """
    commands = zip(program.commands, program.notes, accepted, done, strict=True)
    spans: dict[Unit, list[Span]] = {unit: [] for unit in OWNERS}
    fetched = {node.name for node in program.graph.nodes if isinstance(node, Input | Constant)}
    for command, note, start, end in commands:
        unit = Unit(command["unit"])
        if unit in spans and (unit != Unit.LOAD or note.node in fetched):
            spans[unit].append((start, end + 1, note.node))
    names = [node.name for node in program.graph.nodes]
    return dict.fromkeys(names, 0) | spent_cycles(
        [spans[unit] for unit in OWNERS], cycles, last=names[-1]
    )


def spent_cycles(units: Sequence[list[Span]], cycles: int, *, last: str) -> dict[str, int]:
    """Give each of `cycles` to the first of `units` that is at work, by the name of its span.

    A cycle in which none is at work goes to the span that follows, or to `last`.
    """
    owned: list[Span] = []
    free: list[tuple[int, int]] = [(0, cycles)]
    for spans in units:
        mine, free = _claim(free, spans)
        owned += mine
    owned.sort()
    spent: dict[str, int] = {}
    for start, stop, name in owned:
        spent[name] = spent.get(name, 0) + stop - start
    starts = [start for start, _, _ in owned]
    for start, stop in free:
        following = bisect_left(starts, stop)
        name = owned[following][2] if following < len(owned) else last
        spent[name] = spent.get(name, 0) + stop - start
    return spent


def busy_cycles(spans: list[Span], cycles: int) -> int:
    """Return in how many of `cycles` at least one of the spans runs."""
    return sum(stop - start for start, stop, _ in _claim([(0, cycles)], spans)[0])


def _claim(
    free: list[tuple[int, int]], spans: list[Span]
) -> tuple[list[Span], list[tuple[int, int]]]:
    """Give free cycles to spans, the earlier one first; return what was given and what is left."""
    given, left = [], []
    spans = sorted(spans)
    place = 0
    for begin, end in free:
        at = begin
        while place and spans[place - 1][1] > begin:
            place -= 1
        while place < len(spans) and spans[place][0] < end:
            start, stop, node = spans[place]
            start, stop = max(start, at), min(stop, end)
            if start < stop:
                if at < start:
                    left.append((at, start))
                given.append((start, stop, node))
                at = stop
            if spans[place][1] > end:
                break
            place += 1
        if at < end:
            left.append((at, end))
    return given, left


def layer_bytes(program: Program, timing: Timing) -> dict[str, tuple[int, int]]:
    """Return the bytes read and written for each node; the command stream itself is left out.

    Loads that were skipped count nothing.
    """
    bus = program.spec.bus_bytes
    moved = {node.name: (0, 0) for node in program.graph.nodes}
    for place, (command, note) in enumerate(zip(program.commands, program.notes, strict=True)):
        if command["unit"] not in (Unit.LOAD, Unit.STORE) or note.node not in moved:
            continue
        if place in timing.skipped:
            continue
        read, written = moved[note.node]
        size = command["rows"] * command["row_beats"] * bus
        if command["unit"] == Unit.LOAD:
            moved[note.node] = (read + size, written)
        else:
            moved[note.node] = (read, written + size)
    return moved
