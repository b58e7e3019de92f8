"""Products of matrices in floating point, in the order in which the array adds.

A column has `rows` multipliers. Each beat it adds their products in a balanced binary tree of fp32
adders (neighbours first: 0 and 1, 2 and 3, then these two sums), and the tree's result to the
running sum of its output. Beats of one output come in the order of k. Other outputs' beats lie
between them, so that the adder's latency leaves no bubble; that changes no order within a sum.

So the order depends on `rows` and on nothing else of the machine.
"""

from collections.abc import Callable

import numpy as np

from moesaic.models.accel import NM
from moesaic.models.float_arithmetic import (
    MINUS_ZERO,
    Floats,
    Patterns,
    canonical,
    decode,
    quiet,
)
from moesaic.models.float_format import FloatFormat
from moesaic.models.requant import Ints

ROWS_AT_ONCE = 1 << 16
"""Results computed together: their sums stay in the processor's cache."""


def check_rows(rows: int) -> None:
    """Refuse a tree that is not balanced."""
    if rows < 1 or rows & (rows - 1):
        raise ValueError(f"rows must be a power of two, not {rows}")


def tree_sum(terms: Callable[[int], Floats], first: int, count: int) -> Floats:
    """Add ``terms(first) .. terms(first + count - 1)`` in a balanced tree; `count` as `rows`."""
    if count == 1:
        return terms(first)
    half = count // 2
    return tree_sum(terms, first, half) + tree_sum(terms, first + half, half)


def accumulate(
    terms: Callable[[int], Floats], length: int, *, rows: int, start: Floats | None = None
) -> Floats:
    """Add ``terms(0) .. terms(length - 1)``: trees of `rows`, one after the other.

    Parameters
    ----------
    terms : callable
        From k to an array of products, of one shape for all k. Not called beyond `length`: the
        rows that a last beat leaves over give +0.
    length : int
        At least 1.
    rows : int
        A power of two.
    start : Floats, optional
        What the running sums begin with; -0, which adds nothing, by default.
    """
    check_rows(rows)
    if length < 1:
        raise ValueError(f"a sum has at least one term, not {length}")

    def term(k: int) -> Floats:
        # What lies behind the end has the shape of a term, so that it broadcasts to no other.
        return terms(k) if k < length else np.zeros_like(terms(length - 1))

    total: Floats = np.asarray(MINUS_ZERO if start is None else start, dtype=np.float32)
    with quiet():
        for first in range(0, length, rows):
            total = total + tree_sum(term, first, rows)
    return canonical(total)


def dot(
    a: Patterns, b: Patterns, *, rows: int, fmt: FloatFormat, start: Floats | None = None
) -> Floats:
    """Multiply matrices: (T, K) times (K, N) operands of `fmt` give (T, N) of fp32.

    Parameters
    ----------
    a, b : Patterns
    rows : int
        Products in a beat, a power of two. Where it does not divide K, the last beat is filled up
        with +0 times +0.
    fmt : FloatFormat
        fp16 or bf16.
    start : Floats, optional
        (T, N), what the running sums begin with.
    """
    left, right = decode(a, fmt), decode(b, fmt)
    if left.ndim != 2 or right.ndim != 2 or left.shape[1] != right.shape[0]:
        raise ValueError(f"cannot multiply {left.shape} by {right.shape}")
    columns = np.ascontiguousarray(left.T)

    def part(begin: int, end: int) -> Floats:
        return accumulate(
            lambda k: columns[k, begin:end, np.newaxis] * right[k],
            len(columns),
            rows=rows,
            start=None if start is None else start[begin:end],
        )

    return _in_parts(part, left.shape[0], right.shape[1])


def sparse_dot(
    a: Patterns,
    values: Patterns,
    indices: Ints,
    *,
    nm: NM,
    rows: int,
    fmt: FloatFormat,
    start: Floats | None = None,
) -> Floats:
    """Multiply (T, K) operands by an N:M matrix; the result is (T, N) of fp32.

    Parameters
    ----------
    a : Patterns
        K as the matrix's groups reach, or shorter: what is missing counts as +0.
    values, indices : arrays
        (groups * n, N), as :func:`moesaic.models.float_select.select_rows` makes them. A beat
        has `rows` of these values.
    nm : NM
    rows, fmt, start
        As for :func:`dot`.
    """
    groups = values.shape[0] // nm.n
    left, right = decode(a, fmt), decode(values, fmt)
    if left.shape[1] > groups * nm.m or values.shape != indices.shape:
        raise ValueError(f"cannot multiply {left.shape} by {groups} groups of {nm}")
    columns = np.zeros((groups * nm.m, left.shape[0]), dtype=np.float32)
    columns[: left.shape[1]] = left.T
    places = indices + (np.arange(len(values)) // nm.n * nm.m)[:, np.newaxis]

    def part(begin: int, end: int) -> Floats:
        return accumulate(
            lambda k: columns[places[k], begin:end].T * right[k],
            len(values),
            rows=rows,
            start=None if start is None else start[begin:end],
        )

    return _in_parts(part, left.shape[0], right.shape[1])


def _in_parts(part: Callable[[int, int], Floats], lines: int, width: int) -> Floats:
    """Put results of a few lines at a time together."""
    step = max(1, ROWS_AT_ONCE // max(1, width))
    result = np.empty((lines, width), dtype=np.float32)
    with quiet():
        for begin in range(0, lines, step):
            result[begin : begin + step] = part(begin, min(begin + step, lines))
    return result
