"""Passes: what the vector unit does with the rows of a tensor, in fp32, in one order.

A pass takes the rows of `a` beat by beat (`lanes` values) and makes ``z`` of each value; sums of
rows and columns are on the side. Elementwise steps round one by one, as
:mod:`moesaic.models.float_arithmetic` has them.
"""

from enum import IntEnum

import numpy as np

from moesaic.models.float_arithmetic import MINUS_ZERO, Floats, add, canonical, maximum, multiply

PARTIALS = 8
"""Partial sums of a row that are on their way at the same time."""


class Combine(IntEnum):
    """How `a` meets the operands `p` and `q`."""

    MULTIPLY_ADD = 0  # a * p + q
    ADD_MULTIPLY = 1  # (a + q) * p
    MAXIMUM = 2  # max(a, q) * p
    EQUAL = 3  # p where a == q, else +0
    GREATER = 4  # p where a > q, else +0
    WATCHED = 5  # p if a watched value since the last WATCHED was not finite, else +0


def combine(how: Combine, a: Floats, p: Floats, q: Floats, *, seen: bool = False) -> Floats:
    """Return what becomes of each value; `p` and `q` broadcast.

    EQUAL and GREATER give +0 where `a` or `q` is NaN. `seen` is what WATCHED asks for.
    """
    p, q = np.broadcast_to(p, a.shape), np.broadcast_to(q, a.shape)
    match how:
        case Combine.MULTIPLY_ADD:
            return add(multiply(a, p), q)
        case Combine.ADD_MULTIPLY:
            return multiply(add(a, q), p)
        case Combine.MAXIMUM:
            return multiply(maximum(a, q), p)
        case Combine.EQUAL:
            chosen = a == q
        case Combine.GREATER:
            chosen = a > q
        case Combine.WATCHED:
            chosen = np.full(a.shape, seen)
    return canonical(np.where(chosen, p, np.float32(0)))


def row_sums(z: Floats, lanes: int) -> Floats:
    """Add each row of (rows, channels): (rows,).

    A beat's values are added in a balanced tree over the lanes, which are filled up with +0. Beat b
    is added to the partial sum that beat b - 8 was added to. Then the partial sums are added in a
    balanced tree, that of the last beat first, the one before it second; those that no beat
    belongs to are -0.
    """
    beats = _beats(z, lanes, np.float32(0))
    terms = _tree(np.moveaxis(beats, 2, 0))  # (rows, beats)
    count = terms.shape[1]
    partials = []
    for back in range(PARTIALS):
        total = np.full(len(z), MINUS_ZERO)
        for beat in range((count - 1 - back) % PARTIALS, count, PARTIALS):
            if back < count:
                total = add(total, terms[:, beat])
        partials.append(total)
    return _tree(np.stack(partials))


def row_maxima(z: Floats, lanes: int) -> Floats:
    """Return the largest value of each row of (rows, channels): (rows,); NaN where one is NaN."""
    del lanes  # the order makes no difference
    out = z[:, 0]
    for channel in range(1, z.shape[1]):
        out = maximum(out, z[:, channel])
    return out


def column_sums(z: Floats, start: Floats | None = None) -> Floats:
    """Add the rows of (rows, channels) one after the other: (channels,)."""
    out = np.full(z.shape[1], MINUS_ZERO) if start is None else start
    for row in z:
        out = add(out, row)
    return out


def _beats(z: Floats, lanes: int, filler: np.float32) -> Floats:
    """Return (rows, beats, lanes); the last beat is filled up."""
    rows, channels = z.shape
    beats = -(-channels // lanes)
    out = np.full((rows, beats * lanes), filler, dtype=np.float32)
    out[:, :channels] = z
    return out.reshape(rows, beats, lanes)


def _tree(terms: Floats) -> Floats:
    """Add along the first axis, neighbours first; its length is a power of two."""
    while len(terms) > 1:
        terms = add(terms[::2], terms[1::2])
    return terms[0]
