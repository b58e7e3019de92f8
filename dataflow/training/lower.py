"""From passes and packings to commands' fields: which memory words each reads and writes."""

from dataclasses import dataclass

import numpy as np

from moesaic.dataflow.scoreboard import Span
from moesaic.dataflow.steps import Work
from moesaic.dataflow.training.places import Places, ceil_div
from moesaic.dataflow.training.walks import lines_of
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.errors import InputError
from moesaic.models.float_arithmetic import to_words
from moesaic.models.training.memories import Store, slices
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import (
    ONE,
    Kind,
    Operand,
    Pack,
    Pass,
    Ref,
    Spread,
)
from moesaic.models.training.vector_fields import (
    ADDRESS_BITS,
    PITCH_BITS,
    Memory,
    OperandKind,
    Target,
)

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
class Rows:
    """Rows of a tensor in units of slices: the first, from row to row, slices and values of one.

    With `width`, that many rows are a line, and `line` slices lie from its last to the next one.
    """

    base: int
    pitch: int
    beats: int
    valid: int
    rows: int
    width: int = 0
    line: int = 0


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
        pitch, lines = place.pitch * each, lines_of(ref)
        return Rows(
            base=place.base * each + lines.first * pitch + ref.channel // spec.lanes,
            pitch=lines.step * pitch,
            beats=ceil_div(ref.channels, spec.lanes),
            valid=ref.channels,
            rows=ref.rows,
            width=lines.width,
            line=lines.line * pitch,
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
            **self._lines(op),
        }
        fields |= self._operand("p", op.p, op)
        fields |= self._operand("q", op.q, op)
        reads = [self.places.span(ref) for ref in _sources(op)]
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
            writes.append(self.places.span(op.out))
            ports = (X_WRITE,) if place.store == Store.X else ()
        if any(self.places.now[ref.tensor.name].store == Store.X for ref in _sources(op)):
            ports += (X_READ,)
        for name, ref in (("row_sum", op.row_sum), ("row_max", op.row_max)):
            if ref is not None:
                fields |= {name: 1, "row_base": self.rows(ref).base}
                writes.append(self.places.span(ref))
        if op.watch or op.combine == Combine.WATCHED:
            writes.append(WATCH)
            reads += [WATCH] if op.combine == Combine.WATCHED else []
        if op.column_sum is not None:
            fields |= {"column_sum": 1, "column_base": self.rows(op.column_sum).base}
            writes.append(self.places.span(op.column_sum))
        return Work(
            unit=Unit.VECTOR, fields=fields, reads=tuple(reads), writes=tuple(writes), ports=ports
        )

    def _lines(self, op: Pass) -> dict[str, int]:
        """Return the fields of a pass through pixels that do not lie evenly."""
        refs = {"a": op.a, "out": op.out}
        refs |= {n: o.ref for n, o in (("p", op.p), ("q", op.q)) if o.spread == Spread.FULL}
        rows = {name: self.rows(ref) for name, ref in refs.items() if ref is not None}
        widths = {each.width for each in rows.values() if each.width}
        if not widths:
            return {}
        if len(widths) > 1 or op.transpose:
            raise ValueError(f"{op.name}: a pass must have lines of one width, not {widths}")
        lines = {f"{n}_line": each.line if each.width else each.pitch for n, each in rows.items()}
        if max(lines.values()) >> PITCH_BITS:
            raise InputError(f"{op.name}: images must be smaller, lines are {lines} slices apart")
        return lines | {"width": widths.pop()}

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
        word = spec.operands_per_word(op.nm) // spec.lanes  # slices that fill a word
        fields["beats"] = ceil_div(a.beats, word) * word
        if op.out is not None:
            place = self.places.now[op.out.name]
            fields |= {"lines": 1, "row_base": place.base, "index_base": place.place_base}
            writes += place.spans
            ports = (W_WRITE,)
        if op.dense_out is not None:
            out = self.rows(op.dense_out)
            fields |= {"target": Target.V, "out_base": out.base, "out_pitch": out.pitch}
            writes.append(self.places.span(op.dense_out))
        return Work(
            unit=Unit.VECTOR,
            fields=fields,
            reads=(self.places.span(op.a),),
            writes=tuple(writes),
            ports=ports,
        )


def _sources(op: Pass) -> list[Ref]:
    return [op.a, *(o.ref for o in (op.p, op.q) if o.ref is not None)]
