"""From steps to the command stream: prefetch through rings, waits, blocks, the memory image."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from moesaic.dataflow.packing import Bytes
from moesaic.dataflow.program import Note
from moesaic.dataflow.scoreboard import QUEUES, Scoreboard, Span
from moesaic.dataflow.steps import Fetch, Step
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Buffer, Command, Unit
from moesaic.models.errors import InputError
from moesaic.models.geometry import geometry

LAG = 2  # steps that stay ahead of a prefetch that waits for their buffer, so that none is held up
ALIGN = 4096
SIZES = {
    Buffer.WEIGHT: "weight_lines",
    Buffer.INDEX: "index_lines",
    Buffer.PARAM: "param_columns",
    Buffer.NORM: "norm_words",
}
BLOCK = "program"  # node of the fetches of command blocks


@dataclass(slots=True)
class Block:
    """Lines ``start..stop-1`` of a ring: what data they hold, and the last step that uses them."""

    start: int
    stop: int
    data: Bytes | None
    step: int


@dataclass(slots=True)
class Ring:
    """First in, first out: blocks of a buffer, free once the last step that uses them was emitted.

    What lies there stays until its place is taken, and serves later steps too.
    """

    size: int
    head: int = 0
    blocks: list[Block] = field(default_factory=list)

    def find(self, data: Bytes | None, step: int) -> int | None:
        """Return the first line of data that is there, kept for `step` then; None if it is not."""
        for block in self.blocks:
            if data is not None and block.data is data:
                block.step = max(block.step, step)
                return block.start
        return None

    def take(self, lines: int, step: int, emitted: int, data: Bytes | None = None) -> int | None:
        """Return the first line of a new block, None while steps to come need its place."""
        if lines > self.size:
            return None
        start = self.head if self.head + lines <= self.size else 0
        stop = start + lines
        met = [b for b in self.blocks if b.start < stop and start < b.stop]
        if any(block.step >= emitted for block in met):
            return None
        self.blocks = [b for b in self.blocks if not (b.start < stop and start < b.stop)]
        self.blocks.append(Block(start, stop, data, step))
        self.head = stop
        return start


class Schedule:
    """Emit commands for steps in order, fetching ahead as far as the rings allow.

    Parameters
    ----------
    spec : AccelSpec
    data_address : int
        Where streamed data begins.
    """

    def __init__(self, spec: AccelSpec, *, data_address: int) -> None:
        self.spec = spec
        self.data_address = data_address
        self.data: list[Bytes] = []
        self._data_bytes = 0
        self._known: dict[int, int] = {}  # data already placed, by identity
        self.commands: list[Command] = []
        self.notes: list[Note] = []
        self.board = Scoreboard()
        self.board.counts[Unit.LOAD] = 1  # the command processor fetches the first block itself
        self._rings = {
            b: Ring(geometry(spec, b).depth)
            for b in (Buffer.WEIGHT, Buffer.INDEX, Buffer.PARAM, Buffer.NORM)
        }

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
                self._begin_block()
                waits = self.board.add(
                    work.unit, reads=work.reads, writes=work.writes, ports=work.ports
                )
                self._emit({"unit": work.unit, **work.fields, **waits}, step)
            while pending and self._prefetch(*pending[0], steps, step=i):
                pending.popleft()

    def finish(self) -> tuple[int, Bytes]:
        """Emit END, which waits for all that was emitted; return the program's address and data.

        The program follows the streamed data; only now are its blocks' addresses known.
        """
        self._begin_block()
        waits = self.board.fields(dict(self.board.counts))
        self._emit({"unit": Unit.END, **waits}, Step(node="end", works=[]))
        data = np.concatenate(self.data) if self.data else np.zeros(0, dtype=np.uint8)
        program = -(-(self.data_address + len(data)) // ALIGN) * ALIGN
        for command, note in zip(self.commands, self.notes, strict=True):
            if note.node == BLOCK:
                command["address"] += program
        return program, data

    def _prefetch(self, index: int, fetch: Fetch, steps: list[Step], *, step: int) -> bool:
        """Fetch ahead, after `step`; data with a fixed place is not, nor before its routing."""
        free = fetch.base is None and (not fetch.expert or index - fetch.behind <= step)
        return free and self._fetch(index, fetch, steps, emitted=step + 1 - LAG)

    def _fetch(self, index: int, fetch: Fetch, steps: list[Step], *, emitted: int) -> bool:
        step = steps[index]
        beats_log2 = geometry(self.spec, fetch.buffer).beats_log2
        if fetch.base is not None:
            base = fetch.base
        else:
            ring = self._rings[fetch.buffer]
            data = None if fetch.expert else fetch.data  # that of an expert may have been skipped
            there = ring.find(data, index)
            found = ring.take(fetch.lines, index, emitted, data) if there is None else there
            if found is None:
                return False
            base = found
            work = step.works[fetch.command]
            work.fields[fetch.field] = base * fetch.scale
            span: Span = (fetch.buffer.name, base, base + fetch.lines)
            work.reads = (*work.reads, span)
            if there is not None:
                return True
        address = fetch.address if fetch.data is None else self._place(fetch.data)
        ports = ("residual write",) if fetch.buffer == Buffer.RESIDUAL else ()
        self._begin_block()
        waits = self.board.add(
            Unit.LOAD,
            reads=(QUEUES,) if fetch.expert else (),
            writes=((fetch.buffer.name, base, base + fetch.lines),),
            ports=ports,
        )
        beats = fetch.row_beats or (
            fetch.lines << beats_log2
            if fetch.data is None
            else len(fetch.data) // self.spec.bus_bytes
        )
        self._emit(
            {
                "unit": Unit.LOAD,
                "address": int(address or 0),
                "rows": fetch.rows,
                "row_beats": beats,
                "row_pitch": beats * self.spec.bus_bytes if fetch.rows > 1 else 0,
                "buffer": fetch.buffer,
                "line": base << beats_log2,
                "line_pitch": fetch.line_pitch,
                "expert": fetch.expert,
                "place": fetch.place,
                **waits,
            },
            step,
        )
        return True

    def _place(self, data: Bytes) -> int:
        """Give data an address in memory, once."""
        key = id(data)
        if key not in self._known:
            self._known[key] = self.data_address + self._data_bytes
            pad = -len(data) % self.spec.bus_bytes
            self.data.append(np.pad(data, (0, pad)) if pad else data)
            self._data_bytes += len(data) + pad
        return self._known[key]

    def _begin_block(self) -> None:
        """Put the fetch of the next block in front of a block's first command.

        To be called before a command is counted: the fetch is a LOAD and comes before it.
        """
        if len(self.commands) % self.spec.block_commands == 0:
            self._emit_block_fetch()

    def _emit(self, command: Command, step: Step) -> None:
        self.commands.append(command)
        main = command["unit"] in (Unit.STREAM, Unit.VECTOR, Unit.STORE)
        macs = step.macs if main else 0
        self.notes.append(
            Note(
                node=step.node,
                part=step.part,
                macs=macs,
                row=step.row,
                image=step.image,
                images=step.images,
            )
        )

    def _emit_block_fetch(self) -> None:
        spec = self.spec
        block = len(self.commands) // spec.block_commands + 1
        block_bytes = spec.block_commands * COMMAND_BYTES
        waits = self.board.add(Unit.LOAD)
        self.commands.append(
            {
                "unit": Unit.LOAD,
                "address": block * block_bytes,  # from the program's begin on, until finish()
                "rows": 1,
                "row_beats": block_bytes // spec.bus_bytes,
                "buffer": Buffer.COMMAND,
                "row_pitch": 0,
                "line": block % 2 * (block_bytes // spec.bus_bytes),
                **waits,
            }
        )
        self.notes.append(Note(node=BLOCK))
