"""Weighted random floating-point operands: where roundings, carries and special values meet."""

import numpy as np
from numpy.typing import NDArray

from moesaic.models.float_format import FP32, FloatFormat

Ints = NDArray[np.int64]


def special(fmt: FloatFormat) -> Ints:
    """Return zeros, edges of subnormal and normal numbers, one, infinities and NaN, both signs."""
    fraction, one = fmt.fraction_bits, fmt.bias << fmt.fraction_bits
    magnitudes = [
        0,
        1,  # smallest subnormal
        2,
        (1 << fraction) - 1,  # largest subnormal
        1 << (fraction - 1),
        1 << fraction,  # smallest normal
        (1 << fraction) + 1,
        2 << fraction,
        one - 1,
        one,
        one + 1,
        one | 1 << (fraction - 1),
        one + (fmt.significand_bits << fraction),
        one - (fmt.significand_bits << fraction) if fmt.bias > fraction else 3,
        fmt.largest - (1 << fraction),
        fmt.largest - 1,
        fmt.largest,
        fmt.infinity,
        fmt.infinity | 1,  # signalling NaN
        fmt.nan,
        fmt.nan | 1,
        fmt.infinity | ((1 << fraction) - 1),
    ]
    return np.array([*magnitudes, *(fmt.sign | word for word in magnitudes)], dtype=np.int64)


def all_pairs(fmt: FloatFormat) -> tuple[Ints, Ints]:
    """Return each special value with each."""
    a, b = np.meshgrid(special(fmt), special(fmt))
    return a.ravel(), b.ravel()


def numbers(rng: np.random.Generator, count: int, fmt: FloatFormat) -> Ints:
    """Return patterns: exponents at edges, fractions with long runs, special values among them."""
    top, width = fmt.top_exponent, fmt.fraction_bits
    anywhere = rng.integers(0, top + 1, count)
    edges = rng.choice([0, 0, 1, 2, width, top - 2, top - 1, top], count)
    middle = fmt.bias + rng.integers(-width - 3, width + 4, count)
    near_root = fmt.bias // 2 + rng.integers(-3, 4, count)
    kind = rng.integers(0, 8, count)
    field = np.select([kind < 3, kind < 5, kind < 7], [anywhere, edges, middle], near_root)
    word = fractions(rng, count, width) | np.clip(field, 0, top) << width
    word |= rng.integers(0, 2, count) << (fmt.bits - 1)
    odd = rng.random(count) < 0.02
    return np.where(odd, rng.choice(special(fmt), count), word)


def fractions(rng: np.random.Generator, count: int, width: int) -> Ints:
    """Return fractions of `width` bits: any, few bits, runs of ones and of zeros, few low bits."""
    full = (1 << width) - 1
    random = rng.integers(0, full + 1, count)
    one_bit = np.int64(1) << rng.integers(0, width, count)
    run = full >> rng.integers(0, width + 1, count)
    kind = rng.integers(0, 9, count)
    choices = [
        random,
        one_bit,
        one_bit | np.int64(1) << rng.integers(0, width, count),
        run,
        full ^ run,
        full ^ one_bit,
        random & run,
        random & ~run,
    ]
    return np.select([kind == i for i in range(8)], choices, np.zeros(count, dtype=np.int64))


def sums(rng: np.random.Generator, count: int, fmt: FloatFormat = FP32) -> tuple[Ints, Ints]:
    """Return pairs to add: any, cancelling ones, ties, carries through the whole significand."""
    a = numbers(rng, count, fmt)
    any_b = numbers(rng, count, fmt)
    magnitude = a & (fmt.sign - 1)
    width = fmt.fraction_bits
    # Nearly the same magnitude, other sign.
    low = fractions(rng, count, width) >> rng.integers(0, width, count)
    cancel = (np.maximum(magnitude + rng.choice([-1, 1], count) * low, 0)) | (~a & fmt.sign)
    # An exponent some places below (ties and sticky bits) or at most one away.
    below = rng.choice([0, 1, 1, 2, 3, width - 1, width, width + 1, width + 2, width + 3], count)
    field = np.maximum((magnitude >> width) - below, 0)
    shifted = fractions(rng, count, width) | field << width
    shifted |= rng.integers(0, 2, count) << (fmt.bits - 1)
    kind = rng.integers(0, 4, count)
    b = np.select([kind == 0, kind == 1], [any_b, cancel], shifted)
    swap = rng.random(count) < 0.5
    return np.where(swap, b, a), np.where(swap, a, b)


def products(rng: np.random.Generator, count: int, fmt: FloatFormat) -> tuple[Ints, Ints]:
    """Return pairs to multiply: any, and such that the product is near fp32's edges or a tie."""
    a, b = numbers(rng, count, fmt), numbers(rng, count, fmt)
    width = fmt.fraction_bits
    # Exponents whose sum is that of an edge, for most of the finite ones.
    edge = rng.choice([1 - FP32.significand_bits, 0, FP32.top_exponent], count)
    wanted = edge + rng.integers(-3, 27, count) - FP32.bias + 2 * fmt.bias
    field = np.clip(wanted - (a >> width & fmt.top_exponent), 0, fmt.top_exponent)
    there = (b & ~(fmt.top_exponent << width)) | field << width
    return a, np.where(rng.random(count) < 0.4, there, b)


def narrowed(rng: np.random.Generator, count: int, fmt: FloatFormat) -> Ints:
    """Return fp32 patterns to convert: any, and near or halfway between numbers of `fmt`."""
    wide = numbers(rng, count, FP32)
    cut = FP32.fraction_bits - fmt.fraction_bits
    bits = rng.integers(0, fmt.fraction_bits + 2, count)  # how far a subnormal result is cut
    kept = wide >> (cut + bits) << (cut + bits)
    half = np.int64(1) << (cut + bits - 1)
    near = kept + half + rng.integers(-1, 2, count)
    field = FP32.bias + rng.integers(-fmt.bias - fmt.fraction_bits - 2, fmt.bias + 3, count)
    placed = (near & ~(FP32.top_exponent << FP32.fraction_bits)) | field << FP32.fraction_bits
    kind = rng.integers(0, 4, count)
    return np.select([kind == 0, kind == 1], [wide, near & 0xFFFFFFFF], placed)
