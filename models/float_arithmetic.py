"""Arithmetic in fp16, bf16 and fp32, bit for bit: what the hardware's units do.

Every operation is IEEE 754's of round to nearest, ties to even, with subnormals, infinities and
signed zeros, but for one thing: a NaN that comes out is the format's one NaN. Each rounds once, so
a product and the addition behind it round twice.

Numbers of 32 bits are float32 arrays, those of 16 bits are patterns (uint16), since numpy knows no
bf16. Addition and multiplication are numpy's, which are the processor's and IEEE 754's; the tests
hold them against MPFR, subnormals included.
"""

import numpy as np
from numpy.typing import NDArray

from moesaic.models.float_format import BF16, FP16, FP32, FloatFormat

Floats = NDArray[np.float32]
Patterns = NDArray[np.uint16]
Words = NDArray[np.uint32]

NAN = np.uint32(FP32.nan).view(np.float32)
"""The NaN that comes out."""
MINUS_ZERO = np.float32(-0.0)
"""What a sum begins with: x + -0 is x for every x, minus zero included."""


def quiet() -> np.errstate:
    """Return numpy's settings under which infinities and NaN are results like others."""
    return np.errstate(over="ignore", under="ignore", invalid="ignore", divide="ignore")


def canonical(x: Floats) -> Floats:
    """Make every NaN the one that comes out."""
    return np.where(np.isnan(x), NAN, x)


def to_words(x: Floats) -> Words:
    """Return the patterns of fp32 numbers, every NaN as the one that comes out."""
    return canonical(np.ascontiguousarray(x, dtype=np.float32)).view(np.uint32)


def from_words(words: Words) -> Floats:
    """Return the fp32 numbers of patterns."""
    return np.ascontiguousarray(words, dtype=np.uint32).view(np.float32)


def _check_operand(fmt: FloatFormat) -> None:
    if fmt not in (FP16, BF16):
        raise ValueError(f"an operand's format must be fp16 or bf16, not {fmt}")


def decode(patterns: Patterns, fmt: FloatFormat) -> Floats:
    """Return the values of fp16 or bf16 patterns, which are all exact in fp32."""
    _check_operand(fmt)
    patterns = np.ascontiguousarray(patterns, dtype=np.uint16)
    if fmt == FP16:
        return canonical(patterns.view(np.float16).astype(np.float32))
    return canonical((patterns.astype(np.uint32) << 16).view(np.float32))


def encode(x: Floats, fmt: FloatFormat) -> Patterns:
    """Round fp32 numbers to fp16 or bf16 patterns."""
    _check_operand(fmt)
    if fmt == FP16:
        with quiet():
            rounded = np.asarray(x, dtype=np.float32).astype(np.float16).view(np.uint16)
        return np.where(np.isnan(x), np.uint16(FP16.nan), rounded)
    words = to_words(x)
    half_less = np.uint32(0x7FFF) + (words >> 16 & 1)  # a tie goes up if the kept part is odd
    rounded = ((words + half_less) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(BF16.nan), rounded)


def product(a: Patterns, b: Patterns, fmt: FloatFormat) -> Floats:
    """Multiply fp16 or bf16 patterns; broadcasts.

    A product of fp16 is exact: 22 bits, 2**-48 to 2**32. One of bf16 has 16 bits and is rounded
    only where fp32 is subnormal or overflows.
    """
    return multiply(decode(a, fmt), decode(b, fmt))


def add(a: Floats, b: Floats) -> Floats:
    """Add fp32 numbers."""
    with quiet():
        return canonical(np.add(a, b, dtype=np.float32))


def multiply(a: Floats, b: Floats) -> Floats:
    """Multiply fp32 numbers."""
    with quiet():
        return canonical(np.multiply(a, b, dtype=np.float32))


def negate(x: Floats) -> Floats:
    """Turn the sign; a NaN keeps its own."""
    return canonical(-np.asarray(x, dtype=np.float32))


def maximum(a: Floats, b: Floats) -> Floats:
    """Return the larger number: NaN if one is NaN, and +0 is larger than -0 (2019, 9.6)."""
    left, right = np.broadcast_arrays(to_words(a), to_words(b))
    return canonical(from_words(np.where(order(left) >= order(right), left, right)))


def order(words: Words) -> NDArray[np.int64]:
    """Return integers in the order of the patterns' numbers: -0 below +0, NaN above all."""
    magnitude = (words & np.uint32(0x7FFFFFFF)).astype(np.int64)
    return np.where(words >> 31 == 1, ~magnitude, magnitude)


def less(a: Floats, b: Floats) -> NDArray[np.bool_]:
    """Tell whether a < b: false where one is NaN; zeros of both signs are equal."""
    return np.less(a, b)
