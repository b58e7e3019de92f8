"""LayerNorm over wide integers: exact sums, a table for the root, fixed point all the way.

Ba, Kiros and Hinton, "Layer Normalization" (2016), with the variance as ``n * sum(x**2) -
sum(x)**2``, which needs one sweep and no division. For wide_bits 24 the squares use the upper 18
bits of each value: the variance does not change by the constant that cutting off takes away.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from moesaic.models.inverse import RESULT_BITS, inverse_root
from moesaic.models.requant import round_shift, saturate

Ints = NDArray[np.int64]

MAX_VALID = 4096
MAX_VALID_LOG2 = 12
Z_FRACTION_BITS = 16
Z_BITS = 24  # a normalised value is below 64, the root of 4096; 24 bits hold 128
GAIN_BITS = 16
OFFSET_BITS = 32
EPSILON_BITS = 40
SCALE_BITS = 17
RECIPROCAL_BITS = 27  # bits of the mantissa in the command field; the exponent is above it


def cut_bits(wide_bits: int) -> int:
    """Return the low bits that squares leave out, so that one 18-bit operand holds the rest."""
    return max(0, wide_bits - 18)


def mean_fraction(wide_bits: int) -> int:
    """Return the fraction bits of the mean: a difference to it fills 27 bits."""
    return 26 - wide_bits


def reciprocal_field(n: int) -> int:
    """Return the command field `reciprocal` for `n` values in 1..4096.

    Bits 0..26 hold ``round(2**(26 + k) / n)``, from bit 27 on stands ``k``, the least power with
    ``2**k >= n``.
    """
    if not 1 <= n <= MAX_VALID:
        raise ValueError(f"n must be in 1..{MAX_VALID}, not {n}")
    k = (n - 1).bit_length()
    one = 1 << (RECIPROCAL_BITS - 1 + k)
    return k << RECIPROCAL_BITS | (2 * one + n) // (2 * n)


@dataclass(frozen=True, slots=True, kw_only=True)
class RowMoments:
    """What the first sweep leaves of each row.

    ``normalised = (x * 2**mean_fraction - mean) * scale >> shift``, with 16 fraction bits.
    """

    mean: Ints
    scale: Ints
    shift: Ints


def row_moments(x: Ints, *, epsilon: int, wide_bits: int) -> RowMoments:
    """Reduce (..., n) wide values to mean and scale of each row."""
    n = x.shape[-1]
    field = reciprocal_field(n)
    k, reciprocal = field >> RECIPROCAL_BITS, field & ((1 << RECIPROCAL_BITS) - 1)
    cut, fraction = cut_bits(wide_bits), mean_fraction(wide_bits)

    upper = x >> cut
    total = upper.sum(axis=-1)
    variance = n * (upper * upper).sum(axis=-1) - total * total + epsilon
    total = (total << cut) + (x & ((1 << cut) - 1)).sum(axis=-1)

    drop = RECIPROCAL_BITS - 1 + MAX_VALID_LOG2 - fraction
    mean = (((total << (MAX_VALID_LOG2 - k)) * reciprocal) + (1 << (drop - 1))) >> drop

    scale, shift = norm_scale(variance, n, wide_bits)
    return RowMoments(mean=mean, scale=scale, shift=shift)


def norm_scale(variance: Ints, n: int, wide_bits: int) -> tuple[Ints, Ints]:
    """Return scale (17 bits) and shift of rows of `n` values: n over the root of `variance`."""
    k = (n - 1).bit_length()
    root, exponent = inverse_root(variance)
    product = root * (n << (MAX_VALID_LOG2 - k))
    excess = RESULT_BITS + MAX_VALID_LOG2 - SCALE_BITS  # bits of the largest product beyond scale
    spare = excess - 1 + (product >> (SCALE_BITS + excess - 1) > 0)
    scale = (product + (np.int64(1) << (spare - 1))) >> spare
    bits = RESULT_BITS + MAX_VALID_LOG2 + mean_fraction(wide_bits) + cut_bits(wide_bits)
    shift = bits - Z_FRACTION_BITS + exponent - spare - k
    return np.minimum(scale, (1 << SCALE_BITS) - 1), np.maximum(shift, 0)


def layernorm(
    x: Ints,
    gain: Ints,
    offset: Ints,
    *,
    shift: int,
    epsilon: int,
    out_bits: int,
    data_bits: int,
) -> Ints:
    """Return ``saturate(round((z * gain + offset) / 2**shift))``, z with 16 fraction bits.

    Parameters
    ----------
    x : Ints
        (..., n) wide values, n in 1..4096.
    gain, offset : Ints
        (n,) int16 and int32.
    shift : int
        0..62, rounding half to even.
    epsilon : int
        1..2**40-1, in units of ``n * sum(u**2) - sum(u)**2`` where u is x without its cut bits.
    out_bits : int
        data_bits, or wide_bits where the result is a residual stream.
    data_bits : int
        8 or 16: `x` has 16 or 24 bits.
    """
    wide_bits = 16 if data_bits == 8 else 24
    if not 1 <= epsilon < 1 << EPSILON_BITS:
        raise ValueError(f"epsilon must be in 1..2**{EPSILON_BITS}-1, not {epsilon}")
    moments = row_moments(x, epsilon=epsilon, wide_bits=wide_bits)
    difference = (x << mean_fraction(wide_bits)) - moments.mean[..., np.newaxis]
    z = (difference * moments.scale[..., np.newaxis]) >> moments.shift[..., np.newaxis]
    return saturate(round_shift(saturate(z, Z_BITS) * gain + offset, shift), out_bits)


def layernorm_constants(
    gain: ArrayLike,
    offset: ArrayLike,
    *,
    scale_in: float,
    scale_out: float,
    epsilon: float,
    n: int,
    data_bits: int,
) -> tuple[Ints, Ints, int, int]:
    """Return ``(gain, offset, shift, epsilon)`` as integers, with the largest shift that fits.

    Parameters
    ----------
    gain, offset : array_like
        (n,) float parameters of the layer.
    scale_in, scale_out : float
        Value of one unit of the input and of the result.
    epsilon : float
        Added to the variance of the real values.
    n : int
        Values per row.
    data_bits : int
        8 or 16.

    Raises
    ------
    ValueError
        If no shift in 0..40 holds gain and offset, or if epsilon is beyond 40 bits.
    """
    g = np.asarray(gain, dtype=np.float64) / scale_out
    b = np.asarray(offset, dtype=np.float64) / scale_out
    for shift in range(40, -1, -1):
        gains = np.rint(np.ldexp(g, shift - Z_FRACTION_BITS)).astype(np.float64)
        offsets = np.rint(np.ldexp(b, shift)).astype(np.float64)
        if np.max(np.abs(gains), initial=0) < 1 << (GAIN_BITS - 1) and np.max(
            np.abs(offsets), initial=0
        ) < 1 << (OFFSET_BITS - 1):
            break
    else:
        raise ValueError(f"gain and offset are too large for a result scale of {scale_out}")
    cut = cut_bits(16 if data_bits == 8 else 24)
    units = max(1, round(epsilon * n * n / scale_in**2 / 4**cut))
    if units >= 1 << EPSILON_BITS:
        raise ValueError(
            f"epsilon must be below 2**{EPSILON_BITS} in units of the variance, not {units}"
        )
    return gains.astype(np.int64), offsets.astype(np.int64), shift, units
