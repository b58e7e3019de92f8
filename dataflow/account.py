"""What cycles, bytes and MACs are spent on, layer by layer, and how few cycles there could be."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.program import Program
from moesaic.models.commands import Unit
from moesaic.models.graph import Constant, Input

WORKING = (Unit.STREAM, Unit.VECTOR, Unit.STORE)


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
    spec = program.spec
    rate = min(spec.memory.rate, Fraction(spec.bus_bytes))
    macs = sum(executed_macs(program).values())
    return Floor(
        compute=-(-macs // spec.macs_per_cycle),
        bandwidth=ceil(max(timing.bytes_read, timing.bytes_written) / rate),
    )


def layer_cycles(program: Program, done: Sequence[int], cycles: int) -> dict[str, int]:
    """Return each node's cycles; their sum is `cycles`.

    Units overlap, so a layer has no cycles of its own. The cycles from one completion to the next,
    in the order of time, are those of the command that completes. Copies ahead of their use do not
    count: what a layer waits for its weights is the layer's. What is left at the end, until the
    processor has seen all completions, is the last node's.
    """
    spent = {node.name: 0 for node in program.graph.nodes}
    fetched = {node.name for node in program.graph.nodes if isinstance(node, Input | Constant)}
    ends = [
        (end + 1, note.node)
        for command, note, end in zip(program.commands, program.notes, done, strict=True)
        if command["unit"] in WORKING or note.node in fetched
    ]
    frontier = 0
    for end, node in sorted(ends, key=lambda pair: pair[0]):
        spent[node] += end - frontier
        frontier = end
    spent[program.graph.nodes[-1].name] += cycles - frontier
    return spent


def layer_bytes(program: Program) -> dict[str, tuple[int, int]]:
    """Return the bytes read and written for each node; the command stream itself is left out."""
    bus = program.spec.bus_bytes
    moved = {node.name: (0, 0) for node in program.graph.nodes}
    for command, note in zip(program.commands, program.notes, strict=True):
        if command["unit"] not in (Unit.LOAD, Unit.STORE) or note.node not in moved:
            continue
        read, written = moved[note.node]
        size = command["rows"] * command["row_beats"] * bus
        if command["unit"] == Unit.LOAD:
            moved[note.node] = (read + size, written)
        else:
            moved[note.node] = (read, written + size)
    return moved
