"""The cycle model: one pass over the commands, exact to the cycle on the standard memory.

Cycle 0 is the first in which the command processor runs. The formulas are those of the RTL's
handshakes; each names the register that costs the cycle.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from moesaic.dataflow.memory import ReadChannel, WriteChannel
from moesaic.dataflow.program import Program
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, UNITS, Buffer, Command, Unit, VectorOp
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


@dataclass(slots=True)
class _Model:
    spec: AccelSpec
    gates: dict[Unit, _Gate] = field(init=False)
    dones: dict[Unit, list[int]] = field(init=False)
    # product coupling
    taken: int = LONG_AGO  # the last tile's weights were taken by the stream
    loader_end: int = LONG_AGO  # last line of the loader's last command
    stream_end: int = LONG_AGO  # last beat of the stream's last command
    vector_free: int = LONG_AGO

    def __post_init__(self) -> None:
        self.gates = {unit: _Gate(self.spec.queue_depth) for unit in UNITS}
        self.dones = {unit: [] for unit in UNITS}

    def ready(self, command: Command) -> int:
        """Return the first cycle in which all waits of a command are seen to be over."""
        out = LONG_AGO
        for unit in UNITS:
            wait = command[WAITS[unit]]
            done = self.dones[unit]
            # undo the modulo: waits are at most 2**15 behind
            behind = (len(done) - wait) & COUNT_MASK
            place = len(done) - behind
            if place > 0 and done[place - 1] >= out:
                out = done[place - 1] + 1
        return out

    def product(
        self,
        loader: Command,
        loader_accept: int,
        stream: Command,
        stream_accept: int,
        beats: int,
    ) -> tuple[int, int]:
        """Run the tiles of a product; return the dones of STATIONARY and STREAM."""
        spec = self.spec
        lines = spec.rows if loader.get("row_mode") else spec.columns
        tiles = stream["n_tiles"] * stream["k_tiles"]
        loaded = max(loader_accept + 1, self.taken + 1) + lines  # `full` is seen
        first = max(loaded, stream_accept + 1)
        period = max(beats, lines + 1)
        last = first + (tiles - 1) * period
        self.taken = last
        self.loader_end = (loaded if tiles == 1 else last - period + 1 + lines) - 1
        self.stream_end = last + beats - 1
        return self.loader_end + gather_latency(spec), self.stream_end + result_latency(spec)


def _expert_rows(command: Command, lengths: Sequence[int]) -> int:
    """Return the rows of a command for an expert with queues of these lengths, by bank."""
    place = command.get("place", 0)
    if not place:
        return max(lengths)
    row, bank = divmod(place - 1, len(lengths))
    return int(lengths[bank] > row)


WAITS = {unit: f"wait_{unit.name.lower()}" for unit in UNITS}


def predict(program: Program, queues: Queues = ()) -> Timing:
    """Return the exact timing of a program on the standard memory.

    Parameters
    ----------
    program : Program
    queues : sequence
        For each ROUTE command, by expert, the lengths of its queues in all banks: what
        :func:`moesaic.dataflow.queues.queue_lengths` returns.
    """
    spec = program.spec
    routed = iter(queues)
    empty: set[int] = set()
    lengths: Sequence[Sequence[int]] = ()
    model = _Model(spec)
    reads, writes = ReadChannel(spec), WriteChannel(spec)
    block_beats = spec.block_commands * COMMAND_BYTES // spec.bus_bytes
    count = len(program.commands)
    dispatched, accepted, done = [0] * count, [-1] * count, [-1] * count

    gate = model.gates[Unit.LOAD]
    first = {
        "address": program.program_address,
        "rows": 1,
        "row_beats": block_beats,
        "row_pitch": 0,
    }
    gate.accepted, first_done = reads.load(first, gate.offer(0, LONG_AGO))
    model.dones[Unit.LOAD].append(first_done)
    block_seen = deque([first_done + 1])

    read = 1  # the command memory is read in this cycle at the earliest
    loader: tuple[int, Command, int] | None = None
    for i, command in enumerate(program.commands):
        if i % spec.block_commands == 0:
            read = max(read, block_seen.popleft())
        unit = command["unit"]
        ready = model.ready(command)
        if unit == Unit.END:
            finish = max(read + 1, ready)
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
        gate = model.gates[Unit(unit)]
        sent = max(read + 1, gate.space())
        dispatched[i] = sent
        read = sent + 1
        offer = gate.offer(sent, ready)
        expert = command.get("expert", 0)
        rows = _expert_rows(command, lengths[expert - 1]) if expert else command.get("beats", 0)
        skipped = bool(expert) and not rows
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
                taken = max(offer, model.vector_free)
                free, last = vector_cycles(
                    spec,
                    VectorOp(command["op"]),
                    command["tokens"],
                    command["beats"],
                    command.get("top", 0),
                    command.get("passes", 0),
                )
                model.vector_free, end = taken + free, taken + last
                if command["op"] == VectorOp.ROUTE:
                    lengths = next(routed)
            case Unit.STATIONARY:
                taken = max(offer, model.loader_end)
                loader = (i, command, taken)
                end = -1
                if skipped:
                    model.loader_end = taken + 1
            case _:
                assert loader is not None, "a STREAM command follows its STATIONARY command"
                taken = max(offer, model.stream_end)
                place, first_command, loader_accept = loader
                if skipped:
                    done[place] = model.loader_end + gather_latency(spec)
                    model.stream_end = taken + 1
                    end = model.stream_end + result_latency(spec)
                else:
                    done[place], end = model.product(
                        first_command, loader_accept, command, taken, rows
                    )
                model.dones[Unit.STATIONARY].append(done[place])
                loader = None
        gate.accepted = taken
        accepted[i], done[i] = taken, end
        if unit != Unit.STATIONARY:
            model.dones[Unit(unit)].append(end)
    raise ValueError("the program has no END")
