"""Piecewise parabolas in integers: the tables of reciprocal, roots, exponential and logarithm.

A segment holds three coefficients; with an offset d of w bits into the segment a value is

    level + (((slope + (curve * d >> w)) * d) >> w)

in units of 2**-28, every shift rounding down. The parabola goes through the function at the three
Chebyshev nodes of the segment, which makes its error nearly the smallest possible, h**3 / 192 times
the third derivative. Three quarters of a unit, what both shifts take on average, are added to
`level`. All coefficients are computed in decimals, so they are the same on every machine.
"""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from functools import cache

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

UNIT_BITS = 28
"""Fraction bits of every level, slope and curve."""
INDEX_BITS = 8
DIGITS = Context(prec=50)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parabolas:
    """One table: 256 segments of three coefficients, and the bits of an offset into a segment."""

    level: Ints
    slope: Ints
    curve: Ints
    offset_bits: int

    def value(self, index: Ints, offset: Ints) -> Ints:
        """Return the function in units of 2**-28, as the hardware computes it."""
        inner = self.slope[index] + (self.curve[index] * offset >> self.offset_bits)
        return self.level[index] + (inner * offset >> self.offset_bits)

    def widths(self) -> tuple[int, int, int]:
        """Return the signed bits of level, slope and curve."""
        level, slope, curve = (
            1 + int(max(column.max(), -column.min() - 1)).bit_length()
            for column in (self.level, self.slope, self.curve)
        )
        return level, slope, curve


def parabolas(
    function: Callable[[Decimal], Decimal],
    starts: list[Decimal],
    steps: list[Decimal],
    offset_bits: int,
) -> Parabolas:
    """Fit a function segment by segment: from ``starts[i]`` on, ``steps[i]`` long."""
    columns: tuple[list[int], list[int], list[int]] = ([], [], [])
    with localcontext(DIGITS):
        node = Decimal(3).sqrt() / 4  # of -1/2..1/2
        half = Decimal(1) / 2
        unit = Decimal(1 << UNIT_BITS)
        for start, step in zip(starts, steps, strict=True):
            low, middle, high = (
                function(start + step * (half + place)) * unit for place in (-node, 0, node)
            )
            # Around the middle: middle + first * t + second * t**2; then moved to the start.
            first = (high - low) / (2 * node)
            second = (high + low - 2 * middle) / (2 * node * node)
            curve = round(second)
            slope = round(first - second)
            level = round(middle - first / 2 + second / 4 + 3 * half / 2)
            for column, value in zip(columns, (level, slope, curve), strict=True):
                column.append(value)
    levels, slopes, curves = (np.array(column, dtype=np.int64) for column in columns)
    return Parabolas(level=levels, slope=slopes, curve=curves, offset_bits=offset_bits)


def _even(count_log2: int, scale: int = 1) -> tuple[list[Decimal], list[Decimal]]:
    """Return segments that divide scale .. 2 * scale."""
    count = 1 << count_log2
    step = Decimal(scale) / count
    return [scale + i * step for i in range(count)], [step] * count


@cache
def reciprocal_table() -> Parabolas:
    """Return 1 / x for x in 1..2: the index is the highest 8 of 23 fraction bits."""
    return parabolas(lambda x: 1 / x, *_even(INDEX_BITS), offset_bits=23 - INDEX_BITS)


def _octaves(function: Callable[[Decimal], Decimal]) -> Parabolas:
    """Fit over 1..2 and then 2..4, 128 segments each."""
    starts, steps = (low + high for low, high in zip(_even(7), _even(7, 2), strict=True))
    return parabolas(function, starts, steps, offset_bits=23 - 7)


@cache
def reciprocal_root_table() -> Parabolas:
    """Return 1 / sqrt(x) for x in 1..4: the index is the octave, then 7 bits."""
    return _octaves(lambda x: 1 / x.sqrt())


@cache
def root_table() -> Parabolas:
    """Return sqrt(x) / 2 for x in 1..4, indexed as :func:`reciprocal_root_table`."""
    return _octaves(lambda x: x.sqrt() / 2)


EXP_OFFSET_BITS = 17
"""2**f is read at f of 25 bits."""


@cache
def power_table() -> Parabolas:
    """Return 2**f / 2 for f in 0..1: the index is the highest 8 of 25 bits."""
    starts = [Decimal(i) / 256 for i in range(256)]
    return parabolas(
        lambda x: (x * Decimal(2).ln()).exp() / 2,
        starts,
        [Decimal(1) / 256] * 256,
        offset_bits=EXP_OFFSET_BITS,
    )


LOG_UPPER = 104
"""Segments of the logarithm from this one on, 1.40625..2, count as half as large."""


@cache
def log_table() -> Parabolas:
    """Return ln(x) / (x - 1) / 2 by x's segment in 1..2, with x / 2 in place of x from 1.40625 on.

    x - 1 is then in -0.297..0.407 and the function in 0.42..0.6.
    """

    def function(x: Decimal) -> Decimal:
        if abs(x - 1) > Decimal("1e-12"):
            return x.ln() / (x - 1) / 2
        return (1 - (x - 1) / 2) / 2

    starts, steps = _even(INDEX_BITS)
    for i in range(LOG_UPPER, 1 << INDEX_BITS):
        starts[i], steps[i] = starts[i] / 2, steps[i] / 2
    return parabolas(function, starts, steps, offset_bits=23 - INDEX_BITS)


LOG2_E_BITS = 34
"""log2(e) has one bit before the point and 33 behind it."""
LN2_BITS = 34


@cache
def log2_e() -> int:
    """Return log2(e) in units of 2**-33."""
    with localcontext(DIGITS):
        return round(Decimal(1 << (LOG2_E_BITS - 1)) / Decimal(2).ln())


@cache
def ln2() -> int:
    """Return ln(2) in units of 2**-34."""
    with localcontext(DIGITS):
        return round(Decimal(2).ln() * (1 << LN2_BITS))
