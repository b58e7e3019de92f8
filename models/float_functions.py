"""Reciprocal, roots, exponential and logarithm in fp32, bit for bit as the hardware computes them.

A parabola of 28 bits (:mod:`moesaic.models.float_tables`) is rounded once, to nearest even, to
fp32 with its subnormals and infinities. Results are not always the nearest number, but never
further off than the last column says (ulp of the exact result; measured on all significands, for
`exp` on numbers all over its range):

=================  ==========================================================  =========
function           special values                                              ulp below
=================  ==========================================================  =========
`reciprocal`       1/±0 = ±inf, 1/±inf = ±0                                    0.68
`reciprocal_root`  of ±0 = ±inf, of inf = +0, of negative numbers NaN          0.68
`square_root`      of ±0 = ±0, of inf = inf, of negative numbers NaN           0.68
`exp`              of -inf = +0, of inf = inf                                  0.85
`log`              of ±0 = -inf, of inf = inf, of negative numbers NaN         0.75
`divide`           ``x * reciprocal(y)``: two roundings                        1.7
=================  ==========================================================  =========

A reciprocal of 2**n is exact.
"""

import numpy as np

from moesaic.models.float_arithmetic import Floats, canonical, multiply, quiet, to_words
from moesaic.models.float_format import FP32
from moesaic.models.float_tables import (
    EXP_OFFSET_BITS,
    LN2_BITS,
    LOG_UPPER,
    UNIT_BITS,
    ln2,
    log2_e,
    log_table,
    power_table,
    reciprocal_root_table,
    reciprocal_table,
    root_table,
)
from moesaic.models.inverse import bit_length
from moesaic.models.requant import Ints

FRACTION = FP32.fraction_bits
OFFSET = FRACTION - 8
MASK = (1 << OFFSET) - 1
POWER_BITS = EXP_OFFSET_BITS + 8
"""Fraction bits of x * log2(e)."""
EXP_TOP = 135
"""Exponent field from which on (256) `exp` is infinity or zero."""
LOG_UNIT_BITS = FRACTION + 1 + UNIT_BITS - 1
"""Fraction bits of the logarithm's exact sum; a table's value stands for half of the function."""


def _unpack(x: Floats) -> tuple[Ints, Ints, Ints]:
    """Return sign, exponent field and fraction, subnormal numbers normalised."""
    words = to_words(x).astype(np.int64)
    sign, field, fraction = (
        words >> 31,
        words >> FRACTION & FP32.top_exponent,
        words & ((1 << FRACTION) - 1),
    )
    subnormal = field == 0
    zeros = FRACTION - bit_length(np.maximum(fraction, 1))
    fraction = np.where(subnormal, fraction << zeros + 1 & ((1 << FRACTION) - 1), fraction)
    return sign, np.where(subnormal, -zeros, field), fraction


def _round(sign: Ints, exponent: Ints, significand: Ints) -> Floats:
    """Return fp32 of a significand of 28 bits whose highest bit has this exponent field."""
    magnitude = np.ldexp(significand.astype(np.float64), exponent - FP32.bias - UNIT_BITS + 1)
    with quiet():  # exact in float64, so this is the only rounding
        return np.where(sign == 1, -magnitude, magnitude).astype(np.float32)


def _clamp(value: Ints) -> Ints:
    """Keep a table's value in 1/2..1, so that its highest bit is set."""
    return np.clip(value, 1 << (UNIT_BITS - 1), (1 << UNIT_BITS) - 1)


def reciprocal(x: Floats) -> Floats:
    """Return 1 / x."""
    x = np.asarray(x, dtype=np.float32)
    sign, field, fraction = _unpack(x)
    value = _clamp(reciprocal_table().value(fraction >> OFFSET, fraction & MASK))
    result = _round(sign, 2 * FP32.bias - 1 - field, value)
    result = np.where(x == 0, np.copysign(np.float32(np.inf), x), result)
    result = np.where(np.isinf(x), np.copysign(np.float32(0), x), result)
    return canonical(np.where(np.isnan(x), x, result))


def _root_index(field: Ints, fraction: Ints) -> tuple[Ints, Ints]:
    """Return segment and offset: the octave is 1 where the exponent is odd, the field even."""
    return (~field & 1) << 7 | fraction >> OFFSET + 1, fraction & ((1 << OFFSET + 1) - 1)


def reciprocal_root(x: Floats) -> Floats:
    """Return 1 / sqrt(x)."""
    x = np.asarray(x, dtype=np.float32)
    sign, field, fraction = _unpack(x)
    value = _clamp(reciprocal_root_table().value(*_root_index(field, fraction)))
    result = _round(np.zeros_like(sign), 190 - (field + 1 >> 1), value)
    result = np.where(x == 0, np.copysign(np.float32(np.inf), x), result)
    result = np.where(x == np.inf, np.float32(0), result)
    return canonical(np.where(np.isnan(x) | (x < 0), np.float32(np.nan), result))


def square_root(x: Floats) -> Floats:
    """Return sqrt(x)."""
    x = np.asarray(x, dtype=np.float32)
    sign, field, fraction = _unpack(x)
    value = _clamp(root_table().value(*_root_index(field, fraction)))
    result = _round(np.zeros_like(sign), 63 + (field + 1 >> 1), value)
    result = np.where((x == 0) | (x == np.inf), x, result)
    return canonical(np.where(np.isnan(x) | (x < 0), np.float32(np.nan), result))


def exp(x: Floats) -> Floats:
    """Return e**x: x * log2(e) rounded to 25 fraction bits, half up in magnitude; 2**f of them."""
    x = np.asarray(x, dtype=np.float32)
    words = to_words(x).astype(np.int64)
    field = words >> FRACTION & FP32.top_exponent
    significand = words & ((1 << FRACTION) - 1) | (field > 0).astype(np.int64) << FRACTION
    # 35 bits that hold one fraction bit more than needed at the largest exponent.
    product = significand * log2_e() >> FRACTION
    doubled = product >> np.clip(EXP_TOP - 1 - field, 0, 63)
    power = doubled + 1 >> 1
    power = np.where(words >> 31 == 1, -power, power)
    fraction = power & ((1 << POWER_BITS) - 1)
    index, offset = fraction >> EXP_OFFSET_BITS, fraction & ((1 << EXP_OFFSET_BITS) - 1)
    value = _clamp(power_table().value(index, offset))
    result = _round(np.zeros_like(field), (power >> POWER_BITS) + FP32.bias, value)
    large = field >= EXP_TOP
    result = np.where(large, np.where(x < 0, np.float32(0), np.float32(np.inf)), result)
    return canonical(np.where(np.isnan(x), x, result))


def log(x: Floats) -> Floats:
    """Return ln(x): e * ln(2) + (m - 1) * g(m), m in 0.703..1.407; exact but for g and ln(2)."""
    x = np.asarray(x, dtype=np.float32)
    _, field, fraction = _unpack(x)
    upper = fraction >> OFFSET >= LOG_UPPER
    value = log_table().value(fraction >> OFFSET, fraction & MASK)
    distance = np.where(upper, fraction - (1 << FRACTION), fraction << 1)
    whole = (field - FP32.bias + upper) * ln2() << (LOG_UNIT_BITS - LN2_BITS)
    total = whole + distance * value
    magnitude = np.abs(total)
    length = bit_length(np.maximum(magnitude, 1))
    cut = np.maximum(length - UNIT_BITS, 0)
    rest = magnitude & ((np.int64(1) << cut) - 1)
    significand = magnitude >> cut | (rest != 0)
    exponent = FP32.bias - LOG_UNIT_BITS + UNIT_BITS - 1 + cut
    result = _round((total < 0).astype(np.int64), exponent, significand)
    result = np.where(x == 0, np.float32(-np.inf), result)
    result = np.where(x == np.inf, x, result)
    return canonical(np.where(np.isnan(x) | (x < 0), np.float32(np.nan), result))


def divide(x: Floats, y: Floats) -> Floats:
    """Return x / y as ``x * reciprocal(y)``.

    Infinite too where 1 / y is: for y below 2**-128 and every x but 0, which gives NaN.
    """
    return multiply(x, reciprocal(y))
