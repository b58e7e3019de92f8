"""From operations to commands' fields: which memory words each reads and writes."""

from dataclasses import dataclass

import numpy as np

from moesaic.dataflow.scoreboard import Span
from moesaic.dataflow.steps import Work
from moesaic.dataflow.training.places import Place, Places, ceil_div
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.errors import InputError
from moesaic.models.float_arithmetic import to_words
from moesaic.models.training.memories import Store, slices
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import (
    ONE,
    Kind,
    Layout,
    Operand,
    Pack,
    Pass,
    Product,
    Ref,
    Spread,
    Term,
)
from moesaic.models.training.vector_fields import ADDRESS_BITS, Memory, OperandKind, Target

MEMORIES = {
    Store.X: Memory.X,
    Store.P: Memory.P,
    Store.V: Memory.V,
    Store.L: Memory.L,
    Store.S: Memory.S,
    Store.K: Memory.K,
}
TARGETS = {Store.X: Target.X, Store.V: Target.V, Store.S: Target.S}
WATCH: Span = ("WATCH", 0, 1)  # what the vector unit remembers of watched values
X_WRITE, W_WRITE = "X write", "W write"  # ports that LOAD and VECTOR share
X_READ = "X read"  # the port that STORE and VECTOR share


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a product: its two commands, the MACs executed, and its first row."""

    stationary: Work
    stream: Work
    macs: int
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a tensor in units of slices: the first, from row to row, slices and values of one."""

    base: int
    pitch: int
    beats: int
    valid: int
    rows: int


class Lowering:
    """Fields of the commands of one operation; places are those of the moment.

    Parameters
    ----------
    spec : AccelSpec
    places : Places
    """

    def __init__(self, spec: AccelSpec, places: Places) -> None:
        self.spec, self.places = spec, places

    # ---- passes -------------------------------------------------------------------------------
    def rows(self, ref: Ref) -> Rows:
        """Return where a pass finds a tensor's rows; a column is one row."""
        spec, place = self.spec, self.places.now[ref.tensor.name]
        if ref.tensor.kind == Kind.COLUMN:
            if ref.row or ref.step != 1:
                raise ValueError(f"{ref.tensor.name}: a column is read whole")
            beats = ceil_div(ref.rows, spec.lanes)
            return Rows(base=place.base, pitch=0, beats=beats, valid=ref.rows, rows=1)
        each = slices(spec) if place.store == Store.X else 1
        if ref.channel % spec.lanes:
            raise InputError(
                f"lanes must divide the first channel of {ref.tensor.name}'s part, "
                f"{ref.channel}, not {spec.lanes}"
            )
        pitch = place.pitch * each
        return Rows(
            base=place.base * each + ref.row * pitch + ref.channel // spec.lanes,
            pitch=ref.step * pitch,
            beats=ceil_div(ref.channels, spec.lanes),
            valid=ref.channels,
            rows=ref.rows,
        )

    def pass_work(self, op: Pass) -> Work:
        """Return the command of a pass."""
        a = self.rows(op.a)
        fields = {
            "combine": int(op.combine),
            "function": op.function.value,
            "watch": int(op.watch),
            "rows": a.rows,
            "beats": a.beats,
            "valid": a.valid,
            "a_memory": self._memory(op.a),
            "a_base": a.base,
            "a_pitch": a.pitch,
            "transpose": int(op.transpose),
        }
        fields |= self._operand("p", op.p, op)
        fields |= self._operand("q", op.q, op)
        reads = [self._span(ref) for ref in _sources(op)]
        writes: list[Span] = []
        ports: tuple[str, ...] = ()
        if op.out is not None:
            out, place = self.rows(op.out), self.places.now[op.out.tensor.name]
            last = op.out.channel + op.out.channels == op.out.tensor.channels
            fields |= {
                "target": TARGETS[place.store],
                "out_base": out.base,
                "out_pitch": out.pitch,
                "fill": int(place.store == Store.X and last),
            }
            writes.append(self._span(op.out))
            ports = (X_WRITE,) if place.store == Store.X else ()
        if any(self.places.now[ref.tensor.name].store == Store.X for ref in _sources(op)):
            ports += (X_READ,)
        for name, ref in (("row_sum", op.row_sum), ("row_max", op.row_max)):
            if ref is not None:
                fields |= {name: 1, "row_base": self.rows(ref).base}
                writes.append(self._span(ref))
        if op.watch or op.combine == Combine.WATCHED:
            writes.append(WATCH)
            reads += [WATCH] if op.combine == Combine.WATCHED else []
        if op.column_sum is not None:
            fields |= {"column_sum": 1, "column_base": self.rows(op.column_sum).base}
            writes.append(self._span(op.column_sum))
        return Work(
            unit=Unit.VECTOR, fields=fields, reads=tuple(reads), writes=tuple(writes), ports=ports
        )

    def _operand(self, name: str, operand: Operand, op: Pass | None) -> dict[str, int]:
        if operand.ref is None:
            return {
                f"{name}_kind": OperandKind.NUMBER,
                f"{name}_value": int(to_words(np.array([operand.number], dtype=np.float32))[0]),
            }
        if name == "p" and op is not None and operand.ref == op.a:
            return {f"{name}_kind": OperandKind.SELF}
        column = operand.spread == Spread.COLUMN
        place = self.places.now[operand.ref.tensor.name]
        if column:
            base, pitch = place.base, 0
        else:
            rows = self.rows(operand.ref)
            base, pitch = rows.base, 0 if operand.spread == Spread.ROW else rows.pitch
        return {
            f"{name}_kind": OperandKind.COLUMN if column else OperandKind.MEMORY,
            f"{name}_memory": self._memory(operand.ref),
            f"{name}_value": base | pitch << ADDRESS_BITS,
        }

    def _memory(self, ref: Ref) -> Memory:
        return MEMORIES[self.places.now[ref.tensor.name].store]

    def _span(self, ref: Ref) -> Span:
        """Return the words from the first to the last of a part."""
        place = self.places.now[ref.tensor.name]
        if place.store in (Store.S, Store.W):
            return place.spans[0]
        start = place.base + ref.row * place.pitch
        stop = place.base + (ref.row + (ref.rows - 1) * ref.step + 1) * place.pitch
        return place.store.name, start, stop

    # ---- packings -----------------------------------------------------------------------------
    def pack_work(self, op: Pack) -> Work:
        """Return the command of a packing."""
        spec, a = self.spec, self.rows(op.a)
        fields = {
            "pack": 1,
            **self._operand("p", ONE, None),
            **self._operand("q", Operand(number=-0.0), None),
            "rows": a.rows,
            "valid": a.valid,
            "a_memory": self._memory(op.a),
            "a_base": a.base,
            "a_pitch": a.pitch,
            "mode": spec.mode_number(op.nm),
        }
        writes: list[Span] = []
        ports: tuple[str, ...] = ()
        expansion = 1 if op.nm is None else op.nm.expansion
        line = spec.rows * expansion // spec.lanes  # slices that fill a line
        fields["beats"] = ceil_div(a.beats, line) * line
        if op.out is not None:
            place = self.places.now[op.out.name]
            fields |= {"lines": 1, "row_base": place.base, "index_base": place.place_base}
            writes += place.spans
            ports = (W_WRITE,)
        if op.dense_out is not None:
            out = self.rows(op.dense_out)
            fields |= {"target": Target.V, "out_base": out.base, "out_pitch": out.pitch}
            writes.append(self._span(op.dense_out))
        return Work(
            unit=Unit.VECTOR,
            fields=fields,
            reads=(self._span(op.a),),
            writes=tuple(writes),
            ports=ports,
        )

    # ---- products -----------------------------------------------------------------------------
    def product_works(self, op: Product) -> list[Part]:
        """Return the parts of a product, in order.

        Rows are cut to what the partial sums hold. Where terms share a sum, tiles of outputs come
        one by one, each with all terms.
        """
        spec = self.spec
        parts: list[Part] = []
        n_tiles = ceil_div(op.out.channels, spec.columns)
        for row in range(0, op.out.rows, spec.psum_depth):
            rows = min(spec.psum_depth, op.out.rows - row)
            if len(op.terms) == 1:
                parts.append(self._part(op, op.terms[0], row, rows, 0, n_tiles, True, True))
                continue
            for tile in range(n_tiles):
                for number, term in enumerate(op.terms):
                    last = number == len(op.terms) - 1
                    parts.append(self._part(op, term, row, rows, tile, 1, not number, last))
        return parts

    def _part(
        self,
        op: Product,
        term: Term,
        row: int,
        rows: int,
        tile: int,
        tiles: int,
        first: bool,
        last: bool,
    ) -> Part:
        spec = self.spec
        left, right, out = (
            self.places.now[ref.tensor.name] for ref in (term.left, term.right, op.out)
        )
        nm = term.right.tensor.nm
        step = spec.operands_per_beat(nm)
        k_tiles = ceil_div(term.left.channels, step)
        self._check_part(term.left, spec.rows)
        held: dict[str, int] = {"n_tiles": tiles, "k_tiles": k_tiles, "mode": spec.mode_number(nm)}
        if term.layout == Layout.WEIGHTS:
            line = tile * k_tiles * spec.columns
            held |= {"line_base": right.base + line, "index_base": right.place_base + line // 2}
            reads = right.spans
        else:
            held |= self._held(term, right, tile)
            reads = (self._span(term.right),)
        stationary = Work(unit=Unit.STATIONARY, fields=held, reads=reads)
        if op.out.channel % spec.lanes:
            raise InputError(f"{op.out.tensor.name}: lanes must divide {op.out.channel}")
        part = Ref(
            tensor=op.out.tensor,
            row=op.out.row + row * op.out.step,
            rows=rows,
            step=op.out.step,
            channel=op.out.channel,
            channels=op.out.channels,
        )
        stream = Work(
            unit=Unit.STREAM,
            fields={
                "mode": spec.mode_number(nm),
                "beats": rows,
                "n_tiles": tiles,
                "k_tiles": k_tiles,
                "base": left.base + (term.left.row + row * term.left.step) * left.pitch,
                "position": term.left.channel,
                "pitch": left.pitch * term.left.step,
                "dest_base": out.base + part.row * out.pitch + op.out.channel // spec.lanes + tile,
                "dest_pitch": out.pitch * op.out.step,
                "first": int(first),
                "last": int(last),
            },
            reads=(self._span(term.left),),
            writes=(self._span(part),) if last else (),
        )
        columns = min(op.out.channels - tile * spec.columns, tiles * spec.columns)
        macs = rows * term.left.channels * columns
        macs = macs if nm is None else macs * nm.n // nm.m
        return Part(stationary=stationary, stream=stream, macs=macs, row=row)

    def _held(self, term: Term, place: Place, tile: int) -> dict[str, int]:
        """Return where the stationary operand lies in X."""
        spec, right = self.spec, term.right
        rows_held = term.layout == Layout.ROWS
        self._check_part(right, spec.columns if rows_held else spec.rows)
        row = right.row + (0 if rows_held else tile * spec.columns * right.step)
        fields = {
            "source_x": 1,
            "row_mode": int(rows_held),
            "base": place.base + row * place.pitch,
            "position": right.channel + (tile * spec.columns if rows_held else 0),
            "pitch": place.pitch * right.step,
        }
        if rows_held:
            return fields | {"valid": right.rows}
        return fields | {"valid": right.rows - tile * spec.columns}

    def _check_part(self, ref: Ref, size: int) -> None:
        """Refuse parts of tensors that begin or end within a tile of operands."""
        inside = ref.channel + ref.channels < ref.tensor.channels
        if ref.channel % size or (inside and ref.channels % size):
            raise InputError(
                f"rows and columns must divide the parts of {ref.tensor.name}, {ref.channels} "
                f"channels from {ref.channel} on, not {size}"
            )


def _sources(op: Pass) -> list[Ref]:
    return [op.a, *(o.ref for o in (op.p, op.q) if o.ref is not None)]
