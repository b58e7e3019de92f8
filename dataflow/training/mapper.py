"""The training mapper: a step and a machine in, a program out."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.packing import Bytes
from moesaic.dataflow.scoreboard import Scoreboard
from moesaic.dataflow.steps import Work
from moesaic.dataflow.training.image import Addresses, tensor_bytes
from moesaic.dataflow.training.lower import W_WRITE, X_READ, X_WRITE, Lowering
from moesaic.dataflow.training.lower_products import ProductLowering
from moesaic.dataflow.training.places import NoRoomError, Places, ceil_div, tensors_of, writers
from moesaic.dataflow.training.spills import Uses
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Command, Unit
from moesaic.models.training.execute import Value
from moesaic.models.training.memories import Store, shape
from moesaic.models.training.step import Op, Pack, Pass, Product, Role, Step, Tensor

AHEAD = (12, 6, 3, 2, 1, 0)  # operations between a LOAD and the first use of what it brings
BLOCK = "program"
MAX_BEATS = (1 << 16) - 1  # of a copy's piece


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainNote:
    """What a command is for: operation with its number in the step, stage, MACs executed.

    `row` is the first row of a product's part, `dense_macs` its MACs without N:M, `weights` the
    packed tensor that it multiplies; copies and what the machine needs have number -1.
    """

    op: str
    number: int = -1
    stage: str = ""
    macs: int = 0
    dense_macs: int = 0
    weights: str = ""
    row: int = 0


@dataclass(slots=True, kw_only=True)
class TrainProgram:
    """Commands with their notes, and where the host finds tensors in memory.

    `addresses` and `sizes` (bytes) are those of tensors of roles INPUT, STATE and NEXT, and of
    what waits in memory meanwhile, and of their places.
    """

    spec: AccelSpec
    step: Step
    commands: list[Command]
    notes: list[TrainNote]
    addresses: dict[str, tuple[int, int]]
    sizes: dict[str, tuple[int, int]]
    program_address: int
    memory_bytes: int
    peak_words: dict[str, int] = field(default_factory=dict)


class TrainMapper:
    """Map a step: tensors get room when they are written, and lose it after their last use.

    Parameters
    ----------
    spec : AccelSpec
        With `numbers` fp16 or bf16.
    step : Step
    ahead : int
        Operations between a LOAD and the first use of what it brings.
    spill : bool
        Whether tensors that are wanted last wait in memory where there is no room.
    """

    def __init__(
        self, spec: AccelSpec, step: Step, ahead: int = AHEAD[0], *, spill: bool = False
    ) -> None:
        self.spec, self.step, self.ahead, self.spill = spec, step, ahead, spill
        self.places = Places(spec=spec, stores=writers(step))
        self.lowering = Lowering(spec, self.places)
        self.products = ProductLowering(spec, self.places)
        self.board = Scoreboard(loads=1)  # the command processor fetches the first block itself
        self.commands: list[Command] = []
        self.notes: list[TrainNote] = []
        self.number = 0  # of the operation at work
        self.uses = Uses(step)
        self.loads: dict[int, list[Tensor]] = {}
        self.memory = Addresses(places=self.places)

    def run(self) -> TrainProgram:
        """Return the program."""
        for tensor in self.step.tensors.values():
            if tensor.role != Role.INNER:
                self.memory.put(tensor)
            if tensor.role in (Role.INPUT, Role.STATE) and tensor.name in self.uses.all:
                self._load_before(tensor, self.uses.first(tensor), earliest=0)
        for number, op in enumerate(self.step.ops):
            self.number = number
            self._load(op)
            for tensor in tensors_of(op):
                if tensor.name not in self.places.now:
                    self._room(tensor, op, number)
            self._lower(op)
            for tensor in {t.name: t for t in tensors_of(op)}.values():
                if self.uses.last(tensor) == number:
                    if tensor.role == Role.NEXT:
                        self._copy(Unit.STORE, tensor, op)
                    self.places.drop(tensor)
        return self._finish()

    # ---- room on chip -------------------------------------------------------------------------
    def _load_before(self, tensor: Tensor, use: int, *, earliest: int) -> None:
        self.loads.setdefault(max(earliest, use - self.ahead), []).append(tensor)

    def _load(self, op: Op) -> None:
        """Load what is due; what finds no room comes later, but in time."""
        for tensor in self.loads.pop(self.number, ()):
            use = self.uses.after(tensor, self.number - 1)
            try:
                self._room(tensor, op, use)
            except NoRoomError:
                if not self.spill or use == self.number:
                    raise
                self.loads.setdefault(self.number + 1, []).append(tensor)
            else:
                self._copy(Unit.LOAD, tensor, op)

    def _room(self, tensor: Tensor, op: Op, use: int) -> None:
        """Give a tensor room for operation `use`, if need be that of one which is wanted later."""
        while True:
            try:
                self.places.put(tensor)
            except NoRoomError as full:
                if not self.spill:
                    raise
                last = self.uses.victim(self.places, full.store, op, self.number, use)
                if last is None:
                    raise
                self._send_away(last, op)
            else:
                return

    def _send_away(self, tensor: Tensor, op: Op) -> None:
        """Free a tensor's room until its next use; memory has it, or gets it now."""
        if tensor.name not in self.memory.addresses:
            self.memory.put(tensor)
            self._copy(Unit.STORE, tensor, op)
        if self.places.now[tensor.name].store == Store.V:
            self.places.stores[tensor.name] = Store.L  # what comes from memory lies there
        self.places.drop(tensor)
        use = self.uses.after(tensor, self.number)
        self._load_before(tensor, use, earliest=self.number + 1)

    def _lower(self, op: Op) -> None:
        match op:
            case Pass():
                self._work(self.lowering.pass_work(op), op)
            case Pack():
                self._work(self.lowering.pack_work(op), op)
            case Product():
                for part in self.products.works(op):
                    self._work(part.stationary, op, weights=part.weights)
                    self._work(
                        part.stream,
                        op,
                        macs=part.macs,
                        dense_macs=part.dense_macs,
                        weights=part.weights,
                        row=part.row,
                    )

    def _work(
        self,
        work: Work,
        op: Op,
        *,
        macs: int = 0,
        dense_macs: int = 0,
        weights: str = "",
        row: int = 0,
    ) -> None:
        self._begin_block()
        self.board.add(work.unit, reads=work.reads, writes=work.writes, ports=work.ports)
        copy = work.unit in (Unit.LOAD, Unit.STORE)
        self.commands.append({"unit": work.unit, **work.fields})
        self.notes.append(
            TrainNote(
                op=op.name,
                number=-1 if copy else self.number,
                stage=op.stage,
                macs=macs,
                dense_macs=dense_macs,
                weights=weights,
                row=row,
            )
        )

    def _copy(self, unit: Unit, tensor: Tensor, op: Op) -> None:
        """Copy a tensor, and its places, between memory and chip."""
        place = self.places.now[tensor.name]
        address, place_address = self.memory.addresses[tensor.name]
        pieces = [(place.store, place.base, place.words, address)]
        if place.place_words:
            pieces.append((Store.PLACES, place.place_base, place.place_words, place_address))
        for store, base, words, where in pieces:
            log2 = shape(self.spec, store).beats_log2
            span = ((store.name, base, base + words),)
            load = unit == Unit.LOAD
            port = {
                Store.X: (X_WRITE,) if load else (X_READ,),
                Store.W: (W_WRITE,) if load else (),
                Store.PLACES: (W_WRITE,) if load else (),
            }
            beats = words << log2
            rows = ceil_div(beats, MAX_BEATS)
            while beats % rows:
                rows += 1
            work = Work(
                unit=unit,
                fields={
                    "address": where,
                    "rows": rows,
                    "row_beats": beats // rows,
                    "row_pitch": beats // rows * self.spec.bus_bytes if rows > 1 else 0,
                    "buffer": store,
                    "line": base << log2,
                    "line_pitch": beats // rows if rows > 1 else 0,
                },
                reads=() if load else span,
                writes=span if load else (),
                ports=port.get(store, ()),
            )
            self._work(work, op)

    def _begin_block(self) -> None:
        """Put the fetch of the next block in front of a block's first command."""
        spec = self.spec
        if len(self.commands) % spec.block_commands:
            return
        block = len(self.commands) // spec.block_commands + 1
        size = spec.block_commands * COMMAND_BYTES
        fields = {
            "unit": Unit.LOAD,
            "address": block * size,  # from the program's begin on, until _finish
            "rows": 1,
            "row_beats": size // spec.bus_bytes,
            "row_pitch": 0,
            "buffer": Store.COMMAND,
            "line": block % 2 * (size // spec.bus_bytes),
        }
        self.board.add(Unit.LOAD)
        self.commands.append(fields)
        self.notes.append(TrainNote(op=BLOCK))

    def _finish(self) -> TrainProgram:
        data_end = self.memory.end
        self._begin_block()
        self.board.add(Unit.END)
        self.commands.append({"unit": Unit.END})
        self.board.fill(self.commands)
        self.notes.append(TrainNote(op="end"))
        for command, note in zip(self.commands, self.notes, strict=True):
            if note.op == BLOCK:
                command["address"] += data_end
        spec = self.spec
        blocks = ceil_div(len(self.commands), spec.block_commands) + 1
        return TrainProgram(
            spec=spec,
            step=self.step,
            commands=self.commands,
            notes=self.notes,
            addresses=self.memory.addresses,
            sizes=self.memory.sizes,
            program_address=data_end,
            memory_bytes=data_end + blocks * spec.block_commands * COMMAND_BYTES,
            peak_words={s.name: arena.peak for s, arena in self.places.arenas.items()},
        )


def map_step(step: Step, spec: AccelSpec, *, spill: bool = True) -> TrainProgram:
    """Map a step, loading as early as the memories allow; see :class:`TrainMapper`.

    Only where all tensors do not fit on chip some wait in memory, unless `spill` forbids that.
    """
    ways = [*product((False, True) if spill else (False,), AHEAD)]
    for number, (away, ahead) in enumerate(ways):
        try:
            return TrainMapper(spec, step, ahead, spill=away).run()
        except NoRoomError:
            if number == len(ways) - 1:
                raise
    raise AssertionError  # the last way returns or raises


def memory_image(program: TrainProgram, given: Mapping[str, Value]) -> NDArray[np.uint8]:
    """Return the memory before a step: what the host and the step before left, without commands."""
    image = np.zeros(program.memory_bytes, dtype=np.uint8)
    for name, value in given.items():
        tensor = program.step.tensors.get(name)
        if tensor is None or tensor.role not in (Role.INPUT, Role.STATE):
            continue
        parts: tuple[Bytes, Bytes] = tensor_bytes(tensor, value, program.spec)
        for address, data in zip(program.addresses[name], parts, strict=True):
            image[address : address + len(data)] = data
    return image
