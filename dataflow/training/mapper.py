"""The training mapper: a step and a machine in, a program out."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.packing import Bytes
from moesaic.dataflow.scoreboard import Scoreboard
from moesaic.dataflow.steps import Work
from moesaic.dataflow.training.image import bytes_of, tensor_bytes
from moesaic.dataflow.training.lower import W_WRITE, X_READ, X_WRITE, Lowering
from moesaic.dataflow.training.lower_products import ProductLowering
from moesaic.dataflow.training.places import Places, ceil_div, tensors_of, writers
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Command, Unit
from moesaic.models.errors import InputError
from moesaic.models.training.execute import Value
from moesaic.models.training.memories import Store, shape
from moesaic.models.training.step import Op, Pack, Pass, Product, Role, Step, Tensor

ALIGN = 4096
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
    their places.
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
    """

    def __init__(self, spec: AccelSpec, step: Step, ahead: int = AHEAD[0]) -> None:
        self.spec, self.step, self.ahead = spec, step, ahead
        self.places = Places(spec=spec, stores=writers(step))
        self.lowering = Lowering(spec, self.places)
        self.products = ProductLowering(spec, self.places)
        self.board = Scoreboard()
        self.board.counts[Unit.LOAD] = 1  # the command processor fetches the first block itself
        self.commands: list[Command] = []
        self.notes: list[TrainNote] = []
        self.number = 0  # of the operation at work
        self.addresses: dict[str, tuple[int, int]] = {}
        self.sizes: dict[str, tuple[int, int]] = {}

    def run(self) -> TrainProgram:
        """Return the program."""
        data_end = self._addresses()
        uses = _uses(self.step)
        loads = self._loads(uses)
        for number, op in enumerate(self.step.ops):
            self.number = number
            for tensor in loads.get(number, ()):
                self.places.put(tensor)
                self._copy(Unit.LOAD, tensor, op)
            for tensor in tensors_of(op):
                if tensor.name not in self.places.now:
                    self.places.put(tensor)
            self._lower(op)
            for tensor in {t.name: t for t in tensors_of(op)}.values():
                if uses[tensor.name][1] == number:
                    if tensor.role == Role.NEXT:
                        self._copy(Unit.STORE, tensor, op)
                    self.places.drop(tensor)
        return self._finish(data_end)

    def _addresses(self) -> int:
        """Give the host's tensors addresses; return the first free one."""
        at = 0
        for tensor in self.step.tensors.values():
            if tensor.role == Role.INNER:
                continue
            data, places = self.sizes[tensor.name] = bytes_of(tensor, self.places)
            start = at
            at = _aligned(at + data)
            self.addresses[tensor.name] = (start, at)
            at = _aligned(at + places)
        return at

    def _loads(self, uses: Mapping[str, tuple[int, int]]) -> dict[int, list[Tensor]]:
        """Return what is loaded before each operation."""
        out: dict[int, list[Tensor]] = {}
        for tensor in self.step.tensors.values():
            if tensor.role in (Role.INPUT, Role.STATE) and tensor.name in uses:
                out.setdefault(max(0, uses[tensor.name][0] - self.ahead), []).append(tensor)
        return out

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
        waits = self.board.add(work.unit, reads=work.reads, writes=work.writes, ports=work.ports)
        copy = work.unit in (Unit.LOAD, Unit.STORE)
        self.commands.append({"unit": work.unit, **work.fields, **waits})
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
        place, (address, place_address) = self.places.now[tensor.name], self.addresses[tensor.name]
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
        self.commands.append(fields | self.board.add(Unit.LOAD))
        self.notes.append(TrainNote(op=BLOCK))

    def _finish(self, data_end: int) -> TrainProgram:
        self._begin_block()
        waits = self.board.fields(dict(self.board.counts))
        self.commands.append({"unit": Unit.END, **waits})
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
            addresses=self.addresses,
            sizes=self.sizes,
            program_address=data_end,
            memory_bytes=data_end + blocks * spec.block_commands * COMMAND_BYTES,
            peak_words={s.name: arena.peak for s, arena in self.places.arenas.items()},
        )


def map_step(step: Step, spec: AccelSpec) -> TrainProgram:
    """Map a step, loading as early as the memories allow; see :class:`TrainMapper`."""
    for ahead in AHEAD[:-1]:
        try:
            return TrainMapper(spec, step, ahead).run()
        except InputError:
            continue
    return TrainMapper(spec, step, AHEAD[-1]).run()


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


def _uses(step: Step) -> dict[str, tuple[int, int]]:
    """Return the first and the last operation that knows each tensor."""
    out: dict[str, tuple[int, int]] = {}
    for number, op in enumerate(step.ops):
        for tensor in tensors_of(op):
            out[tensor.name] = (out.get(tensor.name, (number, 0))[0], number)
    return out


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
