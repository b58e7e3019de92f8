"""Piecewise linear tables, made with integers only, so that they are the same on every machine.

A function is given in fixed point with :data:`POINT` fraction bits. Each segment holds a value and
a slope of its own: the chord, moved by half of its largest deviation, which halves the error.
"""

from collections.abc import Callable, Sequence
from math import isqrt

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

POINT = 96
ONE = 1 << POINT


def divide_round(numerator: int, denominator: int) -> int:
    """Divide and round half up."""
    return (2 * numerator + denominator) // (2 * denominator)


def to_fraction_bits(value: int, bits: int) -> int:
    """Round a fixed-point value to `bits` fraction bits."""
    return divide_round(value, 1 << (POINT - bits))


def fit(
    function: Callable[[int], int], starts: Sequence[int], steps: Sequence[int], bits: int
) -> tuple[Ints, Ints]:
    """Return the value at the start and the rise over the step of every segment.

    Parameters
    ----------
    function : callable
        From fixed point to fixed point.
    starts, steps : sequences of int
        Where each segment begins and how long it is, in fixed point.
    bits : int
        Fraction bits of both results.
    """
    values, slopes = [], []
    for start, step in zip(starts, steps, strict=True):
        left, middle, right = (function(start + step * half // 2) for half in range(3))
        deviation = (left + right) // 2 - middle
        values.append(to_fraction_bits(left - deviation // 2, bits))
        slopes.append(to_fraction_bits(right - left, bits))
    return np.array(values, dtype=np.int64), np.array(slopes, dtype=np.int64)


def reciprocal(x: int) -> int:
    """Return 1 / x."""
    return ONE * ONE // x


def reciprocal_root(x: int) -> int:
    """Return 1 / sqrt(x)."""
    return isqrt(ONE * ONE * ONE // x)


def exp2_fraction(index: int, count_log2: int) -> int:
    """Return ``2 ** (index / 2**count_log2)``, by square roots of two."""
    result, root = ONE, 2 * ONE
    for bit in reversed(range(count_log2)):
        root = isqrt(root * ONE)
        if index >> bit & 1:
            result = result * root // ONE
    return result
