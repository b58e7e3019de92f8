"""Reciprocal and reciprocal square root of positive integers: normalise, table, interpolate.

Both read a mantissa of 20 bits cut off after the leading one, and return a mantissa of 18 bits; the
relative error is at most 2**-17 for either (measured in the tests, on both sides).
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from moesaic.models.segments import ONE, fit, reciprocal, reciprocal_root

Ints = NDArray[np.int64]

SEGMENTS = 256
INPUT_BITS = 20  # with the leading one
RESULT_BITS = 18
GUARD_BITS = 2
VALUE_BITS = RESULT_BITS + GUARD_BITS  # values reach 2**20 - 1
SLOPE_BITS = 12  # magnitude of the fall over a segment, in units of the values


@cache
def reciprocal_table() -> tuple[Ints, Ints]:
    """Return value and fall of ``2**20 / f`` for the 256 segments of f in 1..2."""
    step = ONE // SEGMENTS
    values, rises = fit(
        reciprocal, [ONE + i * step for i in range(SEGMENTS)], [step] * SEGMENTS, VALUE_BITS
    )
    return np.minimum(values, (1 << VALUE_BITS) - 1), np.minimum(-rises, (1 << SLOPE_BITS) - 1)


@cache
def root_table() -> tuple[Ints, Ints]:
    """Return value and fall of ``2**20 / sqrt(f)``: 128 segments of f in 1..2, 128 in 2..4."""
    half = SEGMENTS // 2
    starts = [scale * (ONE + i * ONE // half) for scale in (1, 2) for i in range(half)]
    steps = [scale * ONE // half for scale in (1, 2) for _ in range(half)]
    values, rises = fit(reciprocal_root, starts, steps, VALUE_BITS)
    return np.minimum(values, (1 << VALUE_BITS) - 1), -rises


def bit_length(x: Ints) -> Ints:
    """Return the place of the leading one plus one, for values from 1 to 2**62 - 1."""
    length = np.ones_like(x)
    for step in (32, 16, 8, 4, 2, 1):
        above = x >> step > 0
        length += np.where(above, step, 0)
        x = np.where(above, x >> step, x)
    return length


def _mantissa(x: Ints) -> tuple[Ints, Ints]:
    """Return the 20 leading bits and the exponent of the leading one."""
    exponent = bit_length(x) - 1
    excess = exponent - (INPUT_BITS - 1)
    return np.where(excess >= 0, x >> np.maximum(excess, 0), x << np.maximum(-excess, 0)), exponent


def _interpolate(value: Ints, fall: Ints, offset: Ints, offset_bits: int) -> Ints:
    # Both cuts before this one lean upwards, together by a unit: 1 in place of 2 rounds to nearest.
    exact = value - ((fall * offset) >> offset_bits) + 1
    return np.minimum(exact >> GUARD_BITS, (1 << RESULT_BITS) - 1)


def inverse(x: Ints) -> tuple[Ints, Ints]:
    """Return ``(mantissa, exponent)`` with ``1 / x ~ mantissa * 2**-(18 + exponent)``.

    `x` is in 1..2**62-1; the mantissa in 2**17..2**18-1; the exponent that of x's leading one.
    """
    mantissa, exponent = _mantissa(x)
    offset_bits = INPUT_BITS - 1 - 8
    segment = (mantissa >> offset_bits) & (SEGMENTS - 1)
    values, falls = reciprocal_table()
    offset = mantissa & ((1 << offset_bits) - 1)
    return _interpolate(values[segment], falls[segment], offset, offset_bits), exponent


def inverse_root(x: Ints) -> tuple[Ints, Ints]:
    """Return ``(mantissa, exponent)`` with ``1 / sqrt(x) ~ mantissa * 2**-(18 + exponent)``.

    `x` is in 1..2**62-1; the mantissa in 2**17..2**18-1; the exponent half that of x's leading one.
    """
    mantissa, exponent = _mantissa(x)
    offset_bits = INPUT_BITS - 1 - 7
    segment = (mantissa >> offset_bits) & (SEGMENTS // 2 - 1) | (exponent & 1) << 7
    values, falls = root_table()
    offset = mantissa & ((1 << offset_bits) - 1)
    return _interpolate(values[segment], falls[segment], offset, offset_bits), exponent >> 1
