"""GELU with the error function, as ReLU less a small even bump.

``gelu(x) = relu(x) - delta(abs(x))`` with ``delta(t) = t * Phi(-t)``, where Phi is the normal
distribution function (Hendrycks and Gimpel, "Gaussian Error Linear Units", 2016). ``delta`` is
piecewise linear: one table of 256 segments of 1/32, and a product of a few bits.
"""

from fractions import Fraction
from functools import cache

import numpy as np
from numpy.typing import NDArray

from moesaic.models.segments import ONE, fit, to_fraction_bits

Ints = NDArray[np.int64]

SEGMENTS = 256
STEP_LOG2 = 5  # a segment is 2**-5 long
VALUE_FRACTION_BITS = 16
VALUE_BITS = 14
SLOPE_BITS = 11  # signed; per segment, in units of 2**-16

_INVERSE_ROOT_2PI = Fraction("0.39894228040143267793994605993438186847585863116")


def input_fraction(wide_bits: int) -> int:
    """Return the fraction bits of the input: five integer bits beside the sign."""
    return wide_bits - 6


def output_fraction(wide_bits: int) -> int:
    """Return the fraction bits of the output."""
    return max(VALUE_FRACTION_BITS, input_fraction(wide_bits))


def output_bits(wide_bits: int) -> int:
    """Return the signed bits that hold every output."""
    return wide_bits + output_fraction(wide_bits) - input_fraction(wide_bits)


def _delta(t: int) -> int:
    """Return ``t * Phi(-t)`` in fixed point, from the Maclaurin series of Phi."""
    power, total, k = t, 0, 0
    while power:
        total += (-power if k & 1 else power) // (2 * k + 1)
        k += 1
        power = power * t // ONE * t // ONE // (2 * k)
    tail = ONE // 2 - total * _INVERSE_ROOT_2PI.numerator // _INVERSE_ROOT_2PI.denominator
    return t * tail // ONE


@cache
def table() -> tuple[Ints, Ints]:
    """Return value and slope of ``delta`` in each segment, in units of 2**-16.

    The first segment begins at zero with the slope that bounds its error best, so that the GELU of
    zero is zero.
    """
    step = ONE >> STEP_LOG2
    values, slopes = fit(
        _delta, [i * step for i in range(SEGMENTS)], [step] * SEGMENTS, VALUE_FRACTION_BITS
    )
    # On a parabola through zero, t/2 - c*t*t, the best line through zero leaves the tangent by
    # 2 * (sqrt(2) - 1) of what the parabola leaves it by at the end of the segment.
    drop = (step // 2 - _delta(step)) * 828427 // 1000000
    values[0], slopes[0] = 0, to_fraction_bits(step // 2 - drop, VALUE_FRACTION_BITS)
    return np.maximum(values, 0), slopes


def gelu(y: Ints, wide_bits: int) -> Ints:
    """Return GELU of wide codes.

    Parameters
    ----------
    y : Ints
        Codes of `wide_bits` signed bits with ``input_fraction(wide_bits)`` fraction bits.
    wide_bits : int
        16 or 24.

    Returns
    -------
    Ints
        ``output_bits(wide_bits)`` signed bits with ``output_fraction(wide_bits)`` fraction bits.
    """
    values, slopes = table()
    offset_bits = input_fraction(wide_bits) - STEP_LOG2
    widen = output_fraction(wide_bits) - input_fraction(wide_bits)
    guard = output_fraction(wide_bits) - VALUE_FRACTION_BITS
    drop = offset_bits - guard

    magnitude = np.abs(y)
    segment = magnitude >> offset_bits
    inside = segment < SEGMENTS
    segment = np.where(inside, segment, 0)
    offset = magnitude & ((1 << offset_bits) - 1)
    rise = (slopes[segment] * offset + (1 << drop >> 1)) >> drop
    delta = np.where(inside, (values[segment] << guard) + rise, 0)
    return (np.maximum(y, 0) << widen) - delta
