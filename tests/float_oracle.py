"""IEEE 754's operations by MPFR: patterns in, patterns out, one at a time, none of our arithmetic.

MPFR computes with the precision and the exponents of the result's format and rounds once, also
where the result is subnormal.
"""

from collections.abc import Callable, Sequence

import gmpy2
import numpy as np
from gmpy2 import mpfr
from numpy.typing import NDArray

from moesaic.models.float_format import BF16, FP16, FP32, FloatFormat

CONTEXTS = {
    FP16: gmpy2.context(precision=11, emax=16, emin=-23, subnormalize=True),
    BF16: gmpy2.context(precision=8, emax=128, emin=-132, subnormalize=True),
    FP32: gmpy2.context(precision=24, emax=128, emin=-148, subnormalize=True),
}
EXACT = gmpy2.context(precision=120, emax=10_000, emin=-10_000)


def value(pattern: int, fmt: FloatFormat) -> mpfr:
    """Return what a pattern means; to be called in the context EXACT."""
    negative = pattern >> (fmt.bits - 1)
    field = pattern >> fmt.fraction_bits & fmt.top_exponent
    fraction = pattern & ((1 << fmt.fraction_bits) - 1)
    if field == fmt.top_exponent:
        return gmpy2.nan() if fraction else gmpy2.inf(-1 if negative else 1)
    if field:
        fraction += 1 << fmt.fraction_bits
    scale = max(field, 1) - fmt.bias - fmt.fraction_bits
    magnitude = gmpy2.mul_2exp(mpfr(fraction), scale) if scale >= 0 else mpfr(fraction)
    if scale < 0:
        magnitude = gmpy2.div_2exp(magnitude, -scale)
    return -magnitude if negative else magnitude


def pattern(x: mpfr, fmt: FloatFormat) -> int:
    """Return the pattern of a number that the format has; NaN as the one that comes out."""
    if gmpy2.is_nan(x):
        return (fmt.top_exponent << fmt.fraction_bits) | 1 << (fmt.fraction_bits - 1)
    sign = int(gmpy2.is_signed(x)) << (fmt.bits - 1)
    if gmpy2.is_infinite(x):
        return sign | fmt.top_exponent << fmt.fraction_bits
    if gmpy2.is_zero(x):
        return sign
    mantissa, exponent = (int(part) for part in abs(x).as_mantissa_exp())
    field = exponent + mantissa.bit_length() - 1 + fmt.bias
    scale = max(field, 1) - fmt.bias - fmt.fraction_bits
    units = mantissa << (exponent - scale) if exponent >= scale else mantissa >> (scale - exponent)
    if field < 1:
        return sign | units
    return sign | field << fmt.fraction_bits | (units - (1 << fmt.fraction_bits))


def apply(
    operation: Callable[..., mpfr],
    operands: Sequence[Sequence[int] | NDArray[np.integer]],
    *,
    of: FloatFormat,
    to: FloatFormat,
) -> NDArray[np.int64]:
    """Apply an operation of gmpy2 to columns of patterns `of` a format; round `to` a format."""
    with gmpy2.context(EXACT):
        columns = [[value(int(word), of) for word in column] for column in operands]
    with gmpy2.context(CONTEXTS[to]):
        results = [operation(*row) for row in zip(*columns, strict=True)]
    with gmpy2.context(EXACT):
        return np.array([pattern(x, to) for x in results], dtype=np.int64)


def plus(x: mpfr) -> mpfr:
    """Round to the context: conversion."""
    return gmpy2.mul(x, 1)


def add(x: mpfr, y: mpfr) -> mpfr:
    """Add."""
    return gmpy2.add(x, y)


def multiply(x: mpfr, y: mpfr) -> mpfr:
    """Multiply."""
    return gmpy2.mul(x, y)
