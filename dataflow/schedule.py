"""From steps to the command stream: prefetch through rings, waits, blocks, addresses."""

from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass

from moesaic.dataflow.options import LAG
from moesaic.dataflow.packing import Data
from moesaic.dataflow.program import Note
from moesaic.dataflow.scoreboard import QUEUES, Scoreboard, Span
from moesaic.dataflow.scratch import NAMES
from moesaic.dataflow.steps import Fetch, Step
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Buffer, Command, Unit
from moesaic.models.errors import InputError
from moesaic.models.geometry import geometry

ALIGN = 4096
SIZES = {
    Buffer.WEIGHT: "weight_lines",
    Buffer.INDEX: "index_lines",
    Buffer.PARAM: "param_columns",
    Buffer.NORM: "norm_words",
}
FETCHED = (*SIZES, Buffer.INPUT, Buffer.RESIDUAL)
BLOCK = "program"  # node of the fetches of command blocks


@dataclass(slots=True)
class Block:
    """Lines ``start..stop-1`` of a ring: what data they hold, and the last step that uses them."""

    start: int
    stop: int
    data: Data | None
    step: int


class Ring:
    """First in, first out: blocks of a buffer, free once the last step that uses them was emitted.

    What lies there stays until its place is taken, and serves later steps too.

    Parameters
    ----------
    size : int
        Lines of the buffer.
    """

    def __init__(self, size: int) -> None:
        self.size, self.head = size, 0
        self._blocks: list[Block] = []  # by place
        self._starts: list[int] = []
        self._of: dict[Data, Block] = {}

    def find(self, data: Data | None, step: int) -> int | None:
        """Return the first line of data that is there, kept for `step` then; None if it is not."""
        block = self._of.get(data) if data is not None else None
        if block is None:
            return None
        block.step = max(block.step, step)
        return block.start

    def take(self, lines: int, step: int, emitted: int, data: Data | None = None) -> int | None:
        """Return the first line of a new block, None while steps to come need its place."""
        if lines > self.size:
            return None
        start = self.head if self.head + lines <= self.size else 0
        stop = start + lines
        first = bisect_right(self._starts, start)
        if first and self._blocks[first - 1].stop > start:
            first -= 1
        met = slice(first, bisect_left(self._starts, stop, first))
        if any(block.step >= emitted for block in self._blocks[met]):
            return None
        for block in self._blocks[met]:
            if block.data is not None:
                del self._of[block.data]
        block = Block(start, stop, data, step)
        self._blocks[met], self._starts[met] = [block], [start]
        if data is not None:
            self._of[data] = block
        self.head = stop
        return start


class Schedule:
    """Emit commands for steps in order, fetching ahead as far as the rings allow.

    Parameters
    ----------
    spec : AccelSpec
    data_address : int
        Where streamed data begins.
    lag : int
        Steps that stay ahead of a prefetch that waits for their buffer.
    """

    def __init__(self, spec: AccelSpec, *, data_address: int, lag: int = LAG) -> None:
        self.spec, self.lag = spec, lag
        self.data_address = data_address
        self.addresses: dict[Data, int] = {}  # of data already placed, in their order
        self._data_end = data_address
        self.commands: list[Command] = []
        self.notes: list[Note] = []
        self.board = Scoreboard(loads=1)  # the command processor fetches the first block itself
        shapes = {buffer: geometry(spec, buffer) for buffer in FETCHED}
        self._rings = {buffer: Ring(shapes[buffer].depth) for buffer in SIZES}
        self._beats_log2 = {buffer: shape.beats_log2 for buffer, shape in shapes.items()}

    def run(self, steps: list[Step]) -> None:
        """Emit all steps."""
        pending = deque((i, fetch) for i, step in enumerate(steps) for fetch in step.fetches)
        for i, step in enumerate(steps):
            while pending and pending[0][0] <= i:
                if not self._fetch(*pending[0], steps, emitted=i):
                    fetch = pending[0][1]
                    name, columns = SIZES[fetch.buffer], fetch.lines * fetch.scale
                    raise InputError(
                        f"{name} must be at least {columns} for {step.node}, "
                        f"not {getattr(self.spec, name)}"
                    )
                pending.popleft()
            for work in step.works:
                unit = work.unit
                self._begin_block()
                self.board.add(unit, reads=work.reads, writes=work.writes, ports=work.ports)
                self._emit({"unit": unit, **work.fields}, step)
            while pending and self._prefetch(*pending[0], steps, step=i):
                pending.popleft()

    def finish(self) -> int:
        """Emit END, which waits for all that was emitted; return the program's address.

        The program follows the streamed data; only now are its blocks' addresses known.
        """
        self._begin_block()
        self.board.add(Unit.END)
        self._emit({"unit": Unit.END}, Step(node="end", works=[]))
        program = -(-self._data_end // ALIGN) * ALIGN
        for command, note in zip(self.commands, self.notes, strict=True):
            if note.node == BLOCK:
                command["address"] += program
        return program

    def _prefetch(self, index: int, fetch: Fetch, steps: list[Step], *, step: int) -> bool:
        """Fetch ahead, after `step`; data with a fixed place is not, nor before its routing."""
        free = fetch.base is None and (not fetch.expert or index - fetch.behind <= step)
        early = 0 < steps[index].ahead < index - step
        return free and not early and self._fetch(index, fetch, steps, emitted=step + 1 - self.lag)

    def _fetch(self, index: int, fetch: Fetch, steps: list[Step], *, emitted: int) -> bool:
        step = steps[index]
        beats_log2 = self._beats_log2[fetch.buffer]
        base, there = fetch.base, None
        if base is None:
            ring = self._rings[fetch.buffer]
            data = None if fetch.expert else fetch.data  # that of an expert may have been skipped
            there = ring.find(data, index)
            base = ring.take(fetch.lines, index, emitted, data) if there is None else there
            if base is None:
                return False
        span: Span = (NAMES[fetch.buffer], base, base + fetch.lines)
        if fetch.base is None:
            work = step.works[fetch.command]
            work.fields[fetch.field] = base * fetch.scale
            work.reads = (*work.reads, span)
        if there is not None:
            return True
        if fetch.data is None:
            address, beats = int(fetch.address or 0), fetch.lines << beats_log2
        else:
            address, beats = self._place(fetch.data), fetch.data.size // self.spec.bus_bytes
        beats = fetch.row_beats or beats
        self._begin_block()
        self.board.add(
            Unit.LOAD,
            reads=(QUEUES,) if fetch.expert else (),
            writes=(span,),
            ports=("residual write",) if fetch.buffer == Buffer.RESIDUAL else (),
        )
        self._emit(
            {
                "unit": Unit.LOAD,
                "address": address,
                "rows": fetch.rows,
                "row_beats": beats,
                "row_pitch": beats * self.spec.bus_bytes if fetch.rows > 1 else 0,
                "buffer": fetch.buffer,
                "line": base << beats_log2,
                "line_pitch": fetch.line_pitch,
                "expert": fetch.expert,
                "place": fetch.place,
            },
            step,
        )
        return True

    def _place(self, data: Data) -> int:
        """Give data an address in memory, once."""
        if data not in self.addresses:
            self.addresses[data] = self._data_end
            self._data_end += data.size + -data.size % self.spec.bus_bytes
        return self.addresses[data]

    def _begin_block(self) -> None:
        """Put the fetch of the next block in front of a block's first command.

        To be called before a command is counted: the fetch is a LOAD and comes before it.
        """
        if len(self.commands) % self.spec.block_commands == 0:
            self._emit_block_fetch()

    def _emit(self, command: Command, step: Step) -> None:
        self.commands.append(command)
        main = command["unit"] in (Unit.STREAM, Unit.VECTOR, Unit.STORE)
        self.notes.append(
            Note(
                node=step.node,
                part=step.part,
                macs=step.macs if main else 0,
                row=step.row,
                image=step.image,
                images=step.images,
            )
        )

    def _emit_block_fetch(self) -> None:
        spec = self.spec
        block = len(self.commands) // spec.block_commands + 1
        block_bytes = spec.block_commands * COMMAND_BYTES
        self.board.add(Unit.LOAD)
        self.commands.append(
            {
                "unit": Unit.LOAD,
                "address": block * block_bytes,  # from the program's begin on, until finish()
                "rows": 1,
                "row_beats": block_bytes // spec.bus_bytes,
                "buffer": Buffer.COMMAND,
                "row_pitch": 0,
                "line": block % 2 * (block_bytes // spec.bus_bytes),
            }
        )
        self.notes.append(Note(node=BLOCK))
