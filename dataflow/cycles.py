"""The cycle model: one pass over the commands, exact to the cycle on the standard memory.

Cycle 0 is the first in which the command processor runs. The formulas are those of the RTL's
handshakes; each names the register that costs the cycle.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from moesaic.dataflow.memory import ReadChannel, WriteChannel
from moesaic.dataflow.program import Program
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, UNITS, WAITS, Buffer, Command, Unit, VectorOp
from moesaic.models.hand_over import hand_over
from moesaic.models.pipeline import gather_latency, result_latency
from moesaic.models.vector_timing import vector_cycles

LONG_AGO = -(1 << 62)
Queues = Iterable[Sequence[Sequence[int]]]
COUNT_MASK = (1 << 16) - 1


@dataclass(slots=True, kw_only=True)
class Timing:
    """When each command was dispatched, taken by its unit, and done (cycles; -1 for END).

    `skipped` are the places of commands for experts without tokens.
    """

    cycles: int
    dispatched: list[int]
    accepted: list[int]
    done: list[int]
    bytes_read: int
    bytes_written: int
    skipped: set[int]


class _Gate:
    """The queue in front of a unit: hw/issue.py."""

    def __init__(self, depth: int) -> None:
        self.left = deque([LONG_AGO] * depth, maxlen=depth)  # when commands left the queue
        self.accepted = LONG_AGO

    def space(self) -> int:
        """Return the first cycle in which one more command fits."""
        return self.left[0] + 1

    def offer(self, dispatched: int, ready: int) -> int:
        """Return when a command is offered that was dispatched then and may go from `ready` on."""
        leaves = max(dispatched + 1, ready, self.accepted)
        self.left.append(leaves)
        return leaves + 1


class Units(Protocol):
    """What a machine's units do with their commands: all but the DMA, which machines share."""

    def skips(self, command: Command) -> bool:
        """Whether a command does nothing, because its expert has no tokens."""

    def vector(self, command: Command, offer: int) -> tuple[int, int]:
        """Return when a VECTOR command is taken and when it is done."""

    def stationary(self, offer: int, *, skipped: bool) -> int:
        """Return when a STATIONARY command is taken."""

    def product(
        self,
        loader: Command,
        loader_accept: int,
        stream: Command,
        offer: int,
        *,
        skipped: bool,
    ) -> tuple[int, int, int]:
        """Return when a STREAM command is taken, and when STATIONARY and it are done."""


class IntegerUnits:
    """The units of the integer machine, and the queues that its gates have made so far.

    Parameters
    ----------
    spec : AccelSpec
    queues : iterator
        The next one follows each ROUTE command.
    """

    def __init__(self, spec: AccelSpec, queues: Iterator[Sequence[Sequence[int]]]) -> None:
        self.spec, self.queues = spec, queues
        self.lengths: Sequence[Sequence[int]] = ()
        self.taken = LONG_AGO  # the last tile's weights were taken by the stream
        self.loader_end = LONG_AGO  # last line of the loader's last command
        self.stream_end = LONG_AGO  # last beat of the stream's last command
        self.vector_free = LONG_AGO
        self._gather, self._result = gather_latency(spec), result_latency(spec)
        self._vector: dict[tuple[int, ...], tuple[int, int]] = {}  # cycles by what they depend on

    def rows(self, command: Command) -> int:
        """Return the rows of a STREAM command; LOAD and STATIONARY ask whether there are any."""
        expert, place = command.get("expert", 0), command.get("place", 0)
        if not expert:
            return command.get("beats", 0)
        lengths = self.lengths[expert - 1]
        if not place:
            return max(lengths)
        row, bank = divmod(place - 1, len(lengths))
        return int(lengths[bank] > row)

    def skips(self, command: Command) -> bool:
        """Whether the command's expert has no tokens."""
        return bool(command.get("expert")) and not self.rows(command)

    def vector(self, command: Command, offer: int) -> tuple[int, int]:
        """Run rows of the vector unit; a ROUTE makes new queues."""
        taken = max(offer, self.vector_free)
        kind = (
            command["op"],
            command["tokens"],
            command["beats"],
            command.get("top", 0),
            command.get("passes", 0),
        )
        if kind not in self._vector:
            self._vector[kind] = vector_cycles(self.spec, VectorOp(kind[0]), *kind[1:])
        free, last = self._vector[kind]
        self.vector_free = taken + free
        if command["op"] == VectorOp.ROUTE:
            self.lengths = next(self.queues)
        return taken, taken + last

    def stationary(self, offer: int, *, skipped: bool) -> int:
        """Take a STATIONARY command."""
        taken = max(offer, self.loader_end)
        if skipped:
            self.loader_end = taken + 1
        return taken

    def product(
        self,
        loader: Command,
        loader_accept: int,
        stream: Command,
        offer: int,
        *,
        skipped: bool,
    ) -> tuple[int, int, int]:
        """Run the tiles of a product."""
        spec = self.spec
        accept = max(offer, self.stream_end)
        if skipped:
            self.stream_end = accept + 1
        else:
            self.taken, self.loader_end, self.stream_end = hand_over(
                taken=self.taken,
                load_accept=loader_accept,
                stream_accept=accept,
                lines=spec.rows if loader.get("row_mode") else spec.columns,
                beats=self.rows(stream),
                tiles=stream["n_tiles"] * stream["k_tiles"],
            )
        return accept, self.loader_end + self._gather, self.stream_end + self._result


Waits = Sequence[tuple[tuple[int, int], ...]]


def needed_waits(commands: Iterable[Command]) -> Waits:
    """Return the waits of each command that matter: units, and places in their lists of ends.

    A unit is in order, so what an earlier command of it has waited for is left out.
    """
    counts = [0] * len(UNITS)
    counts[Unit.LOAD] = 1  # the first block
    known = [[0] * len(UNITS) for _ in Unit]
    out = []
    for command in commands:
        unit = command["unit"]
        mine, needed = known[unit], []
        for other, name in enumerate(WAITS):
            count = counts[other]
            place = count - ((count - command[name]) & COUNT_MASK)  # undo the modulo
            if place > mine[other]:
                mine[other] = place
                needed.append((other, place - 1))
        out.append(tuple(needed))
        if unit == Unit.STREAM:
            counts[Unit.STATIONARY] += 1  # done together
        if unit not in (Unit.STATIONARY, Unit.END):
            counts[unit] += 1
    return out


def predict(program: Program, queues: Queues = ()) -> Timing:
    """Return the exact timing of a program on the standard memory.

    Parameters
    ----------
    program : Program
    queues : sequence
        For each ROUTE command, by expert, the lengths of its queues in all banks: what
        :func:`moesaic.dataflow.queues.queue_lengths` returns.
    """
    units = IntegerUnits(program.spec, iter(queues))
    waits = needed_waits(program.commands)
    return run_commands(program.spec, program.commands, waits, program.program_address, units)


def run_commands(
    spec: AccelSpec, commands: Sequence[Command], waits: Waits, program_address: int, units: Units
) -> Timing:
    """Run commands on a machine's units and the standard memory.

    Parameters
    ----------
    spec : AccelSpec
    commands : sequence
        The program, block fetches and END among it.
    waits : sequence
        Those of the commands, from :func:`needed_waits`.
    program_address : int
    units : Units
    """
    gates = [_Gate(spec.queue_depth) for _ in UNITS]
    dones: list[list[int]] = [[] for _ in UNITS]
    empty: set[int] = set()
    reads, writes = ReadChannel(spec), WriteChannel(spec)
    block = spec.block_commands
    count = len(commands)
    dispatched, accepted, done = [0] * count, [-1] * count, [-1] * count

    gate = gates[Unit.LOAD]
    block_beats = block * COMMAND_BYTES // spec.bus_bytes
    first = {"address": program_address, "rows": 1, "row_beats": block_beats, "row_pitch": 0}
    gate.accepted, first_done = reads.load(first, gate.offer(0, LONG_AGO))
    dones[Unit.LOAD].append(first_done)
    block_seen = deque([first_done + 1])

    read = 1  # the command memory is read in this cycle at the earliest
    loader: tuple[int, Command, int] | None = None
    for i, (command, needed) in enumerate(zip(commands, waits, strict=True)):
        if i % block == 0:
            read = max(read, block_seen.popleft())
        unit = command["unit"]
        over = LONG_AGO  # when all waits are seen to be over
        for other, place in needed:
            over = max(over, dones[other][place] + 1)
        if unit == Unit.END:
            finish = max(read + 1, over)
            dispatched[i] = finish
            return Timing(
                cycles=finish + 1,
                dispatched=dispatched,
                accepted=accepted,
                done=done,
                bytes_read=reads.bytes_read,
                bytes_written=writes.bytes_written,
                skipped=empty,
            )
        gate = gates[unit]
        sent = max(read + 1, gate.space())
        dispatched[i] = sent
        read = sent + 1
        offer = gate.offer(sent, over)
        skipped = units.skips(command)
        if skipped:
            empty.add(i)
        match unit:
            case Unit.LOAD:
                taken, end = reads.load(command, offer, skipped=skipped)
                if command["buffer"] == Buffer.COMMAND:
                    block_seen.append(end + 1)
            case Unit.STORE:
                taken, end = writes.store(command, offer)
            case Unit.VECTOR:
                taken, end = units.vector(command, offer)
            case Unit.STATIONARY:
                taken, end = units.stationary(offer, skipped=skipped), -1
                loader = (i, command, taken)
            case _:
                assert loader is not None, "a STREAM command follows its STATIONARY command"
                place, held, held_accept = loader
                taken, done[place], end = units.product(
                    held, held_accept, command, offer, skipped=skipped
                )
                dones[Unit.STATIONARY].append(done[place])
                loader = None
        gate.accepted = taken
        accepted[i], done[i] = taken, end
        if unit != Unit.STATIONARY:
            dones[unit].append(end)
    raise ValueError("the program has no END")
