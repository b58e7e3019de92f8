"""Compares a step on RTL with the models: every write of every operation to the bit."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.training.mapper import TrainNote, TrainProgram
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Command, Unit
from moesaic.models.training.commands import ADDRESS_BITS
from moesaic.models.training.execute import Machine, Value, Weights
from moesaic.models.training.memories import Store
from moesaic.models.training.step import Kind, Op, Pack, Pass, Product, Ref
from moesaic.models.training.vector_fields import Target
from moesaic.sim.comparison import Comparison
from moesaic.sim.training.system import StepLog

Ints = NDArray[np.int64]
TARGETS = {Target.X: Store.X, Target.V: Store.V, Target.S: Store.S}


@dataclass(frozen=True, slots=True, kw_only=True)
class Writes:
    """What a command must write into a memory: slices in order, values, and which of them count."""

    store: Store
    slices: Ints
    values: NDArray[Any]
    counts: NDArray[np.bool_]


@dataclass(slots=True, kw_only=True)
class StepCompare:
    """Goes through the operations with the model and takes what the RTL wrote for each."""

    program: TrainProgram
    log: StepLog
    machine: Machine
    out: Comparison = field(default_factory=Comparison)
    at: dict[Store, int] = field(default_factory=dict)
    tiles: dict[str, int] = field(default_factory=dict)  # written so far, by operation

    def run(self, given: Mapping[str, Value]) -> dict[str, Value]:
        """Compare all operations; return the model's tensors."""
        self.machine.start(given)
        by_number: dict[int, list[tuple[Command, TrainNote]]] = {}
        for command, note in zip(self.program.commands, self.program.notes, strict=True):
            if note.number >= 0 and command["unit"] in (Unit.STREAM, Unit.VECTOR):
                by_number.setdefault(note.number, []).append((command, note))
        for number, op in enumerate(self.program.step.ops):
            self.machine.apply(op)
            for command, note in by_number[number]:
                for writes in self._expected(op, command, note):
                    self._check(op.name, writes)
        last = self.out.layer(self.program.step.ops[-1].name)
        for store, records in self.log.writes.items():
            left = len(records) - self.at.get(store, 0)
            last.add(np.array([left]), np.array([0]), f"writes to {store.name} beyond the last")
        return self.machine.values

    def _check(self, name: str, writes: Writes) -> None:
        check = self.out.layer(name)
        at, size = self.at.get(writes.store, 0), len(writes.slices)
        records = self.log.writes[writes.store][at : at + size]
        self.at[writes.store] = at + size
        where = writes.store.name
        if len(records) != size:
            check.add(np.array([len(records)]), np.array([size]), f"writes to {where}")
            return
        check.add(records["slice"].astype(np.int64), writes.slices, f"slice of {where}")
        got, wanted = _patterns(records["data"]), _patterns(writes.values)
        check.add(np.where(writes.counts, got, 0), np.where(writes.counts, wanted, 0), where)

    def _expected(self, op: Op, command: Command, note: TrainNote) -> list[Writes]:
        match op:
            case Product():
                return [self._product(op, command, note)] if command["last"] else []
            case Pass():
                return self._pass(op, command)
            case Pack():
                return self._pack(op, command)
        return []

    def _product(self, op: Product, command: Command, note: TrainNote) -> Writes:
        lanes = self.program.spec.lanes
        rows, tiles = command["beats"], command["n_tiles"]
        values = self._values(op.out)[note.row : note.row + rows]
        start = self._tile(op) * lanes
        padded, counts = _padded(values[:, start:], lanes, tiles)
        words = np.arange(tiles)[:, None] + _words_of_results(command, rows)[None, :]
        return Writes(
            store=Store.P,
            slices=words.reshape(-1),
            values=padded.transpose(1, 0, 2).reshape(-1, lanes),
            counts=counts.transpose(1, 0, 2).reshape(-1, lanes),
        )

    def _tile(self, op: Product) -> int:
        """Return which tile of outputs a part of several terms writes."""
        if len(op.terms) == 1:
            return 0
        self.tiles[op.name] = self.tiles.get(op.name, -1) + 1
        return self.tiles[op.name] % -(-op.out.channels // self.program.spec.columns)

    def _pass(self, op: Pass, command: Command) -> list[Writes]:
        spec, out = self.program.spec, []
        lanes, rows, beats = spec.lanes, command["rows"], command["beats"]
        target = Target(command.get("target", 0))
        if op.out is not None and target != Target.NONE:
            values = self._values(op.out)
            store = TARGETS[target]
            base, pitch = command["out_base"], command["out_pitch"]
            if command["transpose"]:
                blocks = -(-rows // lanes)
                padded, counts = _padded(values, lanes, blocks)  # (channels, blocks, lanes)
                channels = command["valid"]
                slices = base + np.arange(channels)[None, :] * pitch + np.arange(blocks)[:, None]
                padded, counts = padded.transpose(1, 0, 2), counts.transpose(1, 0, 2)
            else:
                padded, counts = _padded(values, lanes, beats)
                firsts = base + _rows_of_lines(command, rows, pitch)
                slices = firsts[:, None] + np.arange(beats)[None, :]
            if store == Store.X:
                counts = np.ones_like(counts)  # what lies beyond is +0
            out.append(
                Writes(
                    store=store,
                    slices=slices.reshape(-1),
                    values=padded.reshape(-1, lanes),
                    counts=counts.reshape(-1, lanes),
                )
            )
        columns = [ref for ref in (op.row_sum, op.row_max) if ref is not None]
        out += [self._rows(self._values(r).reshape(-1), command["row_base"]) for r in columns]
        if op.column_sum is not None:
            padded, counts = _padded(self._values(op.column_sum), lanes, beats)
            out.append(
                Writes(
                    store=Store.K,
                    slices=command["column_base"] + np.arange(beats),
                    values=padded.reshape(-1, lanes),
                    counts=counts.reshape(-1, lanes),
                )
            )
        return out

    def _rows(self, values: NDArray[Any], base: int) -> Writes:
        """Return the writes of a column, one lane each."""
        lanes = self.program.spec.lanes
        number = np.arange(len(values))
        counts = number[:, None] % lanes == np.arange(lanes)[None, :]
        return Writes(
            store=Store.S,
            slices=base + number // lanes,
            values=np.repeat(values[:, None], lanes, axis=1),
            counts=counts,
        )

    def _pack(self, op: Pack, command: Command) -> list[Writes]:
        spec, out = self.program.spec, []
        if op.dense_out is not None:
            values = self._values(op.dense_out)
            padded, counts = _padded(values, spec.lanes, command["beats"])
            rows = np.arange(command["rows"])[:, None] * command["out_pitch"]
            slices = command["out_base"] + rows + np.arange(command["beats"])[None, :]
            out.append(
                Writes(
                    store=Store.V,
                    slices=slices.reshape(-1),
                    values=padded.reshape(-1, spec.lanes),
                    counts=counts.reshape(-1, spec.lanes),
                )
            )
        if op.out is not None:
            packed = self.machine.values[op.out.name]
            assert isinstance(packed, Weights)
            out += _lines(spec, packed, command)
        return out

    def _values(self, ref: Ref) -> NDArray[Any]:
        """Return a part of a tensor as the machine writes it; a column is one row."""
        value = self.machine.read(ref)
        return value.reshape(1, -1) if ref.tensor.kind == Kind.COLUMN else value


def _words_of_results(command: Command, rows: int) -> Ints:
    """Return the word of P of each row's first tile, counted as the machine counts."""
    row = np.arange(rows)
    width, height = (command.get(name, 0) or rows for name in ("width", "height"))
    lines, images = row // width, row // (width * height)
    steps = {"dest_pitch": row - lines, "dest_row_step": lines - images, "dest_image_step": images}
    words = command["dest_base"] + sum(command.get(n, 0) * count for n, count in steps.items())
    return np.asarray(words % (1 << ADDRESS_BITS))


def _rows_of_lines(command: Command, rows: int, pitch: int) -> Ints:
    """Return how far each row of a pass's result lies from the first."""
    row = np.arange(rows)
    line = row // (command.get("width", 0) or rows)
    return np.asarray((row - line) * pitch + line * command.get("out_line", 0))


def _lines(spec: AccelSpec, packed: Weights, command: Command) -> list[Writes]:
    """Return the lines of packed weights, row after row of the matrix."""
    inputs, outputs = packed.values.shape
    k_lines = -(-inputs // spec.weight_word)
    row = np.arange(outputs)
    line = (row // spec.columns * k_lines * spec.columns + row % spec.columns)[:, None]
    line = line + np.arange(k_lines)[None, :] * spec.columns
    values = np.zeros((outputs, k_lines * spec.weight_word), dtype=np.uint16)
    values[:, :inputs] = packed.values.T
    out = [
        Writes(
            store=Store.W,
            slices=(command["row_base"] + line).reshape(-1),
            values=values.reshape(-1, spec.weight_word),
            counts=np.ones((outputs * k_lines, spec.weight_word), dtype=bool),
        )
    ]
    if packed.places is not None:
        places = np.zeros((outputs, k_lines * spec.weight_word), dtype=np.uint8)
        places[:, :inputs] = packed.places.T
        lines = places.reshape(-1, spec.weight_word)
        real = np.zeros((outputs, k_lines * spec.weight_word), dtype=bool)
        real[:, :inputs] = True
        halves = real.reshape(-1, spec.weight_word)
        out.append(
            Writes(
                store=Store.PLACES,
                slices=(2 * command["index_base"] + line).reshape(-1),
                values=lines[:, 0::2] | lines[:, 1::2] << 4,
                counts=halves[:, 0::2] & halves[:, 1::2],
            )
        )
    return out


def _padded(values: NDArray[Any], lanes: int, beats: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Return (rows, beats, lanes) of the first channels, filled up with zeros, and what is real."""
    rows, channels = values.shape
    width = beats * lanes
    out = np.zeros((rows, width), dtype=values.dtype)
    out[:, : min(channels, width)] = values[:, :width]
    real = np.broadcast_to(np.arange(width) < channels, out.shape)
    return out.reshape(rows, beats, lanes), real.reshape(rows, beats, lanes)


def _patterns(values: NDArray[Any]) -> Ints:
    """Return bit patterns as integers."""
    if values.dtype == np.float32:
        return np.ascontiguousarray(values).view(np.uint32).astype(np.int64)
    return values.astype(np.int64)
