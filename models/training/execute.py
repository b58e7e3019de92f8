"""A step in numpy: every tensor to the bit as the machine has it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.float_arithmetic import Floats, Patterns, decode, encode
from moesaic.models.float_dot import dot, sparse_dot
from moesaic.models.float_format import FloatFormat
from moesaic.models.float_functions import exp, log, reciprocal, reciprocal_root
from moesaic.models.float_select import select_rows
from moesaic.models.requant import Ints
from moesaic.models.training.passes import Combine, column_sums, combine, row_maxima, row_sums
from moesaic.models.training.step import (
    Function,
    Kind,
    Layout,
    Op,
    Operand,
    Pack,
    Pass,
    Product,
    Ref,
    Spread,
    Step,
    Tensor,
    Term,
)

FUNCTIONS = {
    Function.NONE: lambda x: x,
    Function.EXP: exp,
    Function.RECIPROCAL: reciprocal,
    Function.RSQRT: reciprocal_root,
    Function.LOG: log,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A packed matrix: `values` and `places` (compact inputs, outputs); no places where dense."""

    values: Patterns
    places: Ints | None
    nm: NM | None


Value = NDArray[Any] | Weights


@dataclass(slots=True, kw_only=True)
class Machine:
    """What the results depend on: format of operands, rows of the array, lanes."""

    fmt: FloatFormat
    rows: int
    lanes: int
    values: dict[str, Value] = field(default_factory=dict)
    overflow: bool = False  # a watched value was not finite

    def run(self, step: Step, given: Mapping[str, Value]) -> dict[str, Value]:
        """Execute all operations; `given` are the tensors of roles INPUT and STATE.

        Returns
        -------
        dict
            All tensors by name: patterns (uint16) for OPERAND, float32 for FLOAT and COLUMN, the
            latter (rows,), and :class:`Weights`.
        """
        self.start(given)
        for op in step.ops:
            self.apply(op)
        return self.values

    def start(self, given: Mapping[str, Value]) -> None:
        """Begin a step: copies of the given tensors."""
        self.values = {
            name: value if isinstance(value, Weights) else value.copy()
            for name, value in given.items()
        }
        self.overflow = False

    def apply(self, op: Op) -> None:
        """Execute one operation."""
        match op:
            case Product():
                self._write(op.out, self._product(op))
            case Pass():
                self._pass(op)
            case Pack():
                self._pack(op)

    def _product(self, op: Product) -> Floats:
        total: Floats | None = None
        for term in op.terms:
            total = self._term(term, total)
        assert total is not None
        return total

    def _term(self, term: Term, start: Floats | None) -> Floats:
        left, right = self.read(term.left), self.values[term.right.tensor.name]
        if not isinstance(right, Weights):
            other = self.read(term.right)
            matrix = other.T if term.layout == Layout.COLUMNS else other
            right = Weights(values=np.ascontiguousarray(matrix), places=None, nm=None)
        if right.nm is None or right.places is None:
            return dot(left, right.values, rows=self.rows, fmt=self.fmt, start=start)
        return sparse_dot(
            left,
            right.values,
            right.places,
            nm=right.nm,
            rows=self.rows,
            fmt=self.fmt,
            start=start,
        )

    def _pass(self, op: Pass) -> None:
        a = self._floats(op.a)
        z = combine(
            op.combine, a, self._operand(op.p, a), self._operand(op.q, a), seen=self.overflow
        )
        z = FUNCTIONS[op.function](z)
        self.overflow &= op.combine != Combine.WATCHED
        self.overflow |= op.watch and not np.isfinite(z).all()
        if op.row_sum is not None:
            self._write(op.row_sum, row_sums(z, self.lanes))
        if op.row_max is not None:
            self._write(op.row_max, row_maxima(z, self.lanes))
        if op.column_sum is not None:
            self._write(op.column_sum, column_sums(z)[np.newaxis])
        if op.out is not None:
            self._write(op.out, z.T if op.transpose else z)

    def _pack(self, op: Pack) -> None:
        patterns = encode(self._floats(op.a), self.fmt)
        values, places = np.ascontiguousarray(patterns.T), None
        if op.nm is not None:
            values, places = select_rows(values, op.nm, self.fmt)
        if op.out is not None:
            self.values[op.out.name] = Weights(values=values, places=places, nm=op.nm)
        if op.dense_out is not None:
            self._write(op.dense_out, decode(kept(patterns, values, places, op.nm), self.fmt))

    def _operand(self, operand: Operand, a: Floats) -> Floats:
        if operand.ref is None:
            return np.full((1, 1), operand.number, dtype=np.float32)
        value = self._floats(operand.ref)
        if operand.spread == Spread.COLUMN:
            return value.reshape(-1, 1) if a.ndim == 2 else value
        return value

    def _floats(self, ref: Ref) -> Floats:
        """Return what a pass reads: operands are widened; a column is one row."""
        value = self.read(ref)
        if ref.tensor.kind == Kind.OPERAND:
            return decode(value, self.fmt)
        return value.reshape(1, -1) if ref.tensor.kind == Kind.COLUMN else value

    def read(self, ref: Ref) -> NDArray[Any]:
        """Return part of a tensor."""
        value = self.values[ref.tensor.name]
        assert isinstance(value, np.ndarray)
        return value[_index(ref)]

    def _write(self, ref: Ref, z: Floats) -> None:
        """Put results into their tensor, rounded to operands where it holds such."""
        tensor = ref.tensor
        if tensor.name not in self.values:
            self.values[tensor.name] = empty(tensor)
        value = self.values[tensor.name]
        assert isinstance(value, np.ndarray)
        if tensor.kind == Kind.COLUMN:
            z = z.reshape(-1)
        value[_index(ref)] = encode(z, self.fmt) if tensor.kind == Kind.OPERAND else z


def kept(patterns: Patterns, values: Patterns, places: Ints | None, nm: NM | None) -> Patterns:
    """Return (rows, channels) with what a selection kept in place, and +0 elsewhere."""
    if nm is None or places is None:
        return patterns
    out = np.zeros((-(-patterns.shape[1] // nm.m) * nm.m, len(patterns)), dtype=np.uint16)
    inputs = places + (np.arange(len(values)) // nm.n * nm.m)[:, np.newaxis]
    np.put_along_axis(out, inputs, values, axis=0)
    return out.T[:, : patterns.shape[1]]


def empty(tensor: Tensor) -> NDArray[Any]:
    """Return room for a tensor."""
    if tensor.kind == Kind.COLUMN:
        return np.zeros(tensor.rows, dtype=np.float32)
    kind = np.uint16 if tensor.kind == Kind.OPERAND else np.float32
    return np.zeros((tensor.rows, tensor.channels), dtype=kind)


def _index(ref: Ref) -> Any:
    rows = slice(ref.row, ref.row + (ref.rows - 1) * ref.step + 1, ref.step)
    if ref.tensor.kind == Kind.COLUMN:
        return rows
    return rows, slice(ref.channel, ref.channel + ref.channels)
