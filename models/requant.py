"""Requantisation: multiply, shift with rounding half to even, saturate. The rule of every output.

A scale ratio ``r`` is held as a normalised 16-bit multiplier and a right shift, ``r ~ multiplier /
2**shift`` with ``multiplier`` in 2**15..2**16-1, so its relative error is at most 2**-16.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

MULTIPLIER_BITS = 16
SHIFT_BITS = 6
BIAS_BITS = 40

Ints = NDArray[np.int64]


def limits(bits: int) -> tuple[int, int]:
    """Return the smallest and largest signed value of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def saturate(x: Ints, bits: int) -> Ints:
    """Clamp to `bits` signed bits."""
    low, high = limits(bits)
    return np.clip(x, low, high)


def round_shift(x: Ints, shift: ArrayLike) -> Ints:
    """Divide by ``2**shift`` and round half to even; `shift` (0..63) broadcasts against `x`."""
    s = np.asarray(shift, dtype=np.int64)
    quotient = x >> s
    remainder = x - (quotient << s)
    half = np.where(s > 0, np.int64(1) << np.maximum(s - 1, 0), 0)
    up = (remainder > half) | ((remainder == half) & (quotient & 1 == 1))
    return quotient + (up & (s > 0))


def requant(acc: Ints, multiplier: ArrayLike, shift: ArrayLike, bits: int) -> Ints:
    """Return ``saturate(round(acc * multiplier / 2**shift))`` in `bits` signed bits.

    `acc` must be below 2**47 in magnitude (checked), so that the product stays exact in int64;
    the array's sums are.
    """
    if acc.size and int(np.max(np.abs(acc))) >= 1 << 47:
        raise OverflowError("accumulator beyond 47 bits")
    return saturate(round_shift(acc * np.asarray(multiplier, dtype=np.int64), shift), bits)


def quantise_ratio(ratio: float) -> tuple[int, int]:
    """Return ``(multiplier, shift)`` nearest to a positive `ratio` below 2**15.

    Ratios under 2**-47 have no shift that fits and become zero with a shift of 63.
    """
    if not 0 <= ratio < 1 << 15:
        raise ValueError(f"ratio must be in 0..{(1 << 15) - 1}, not {ratio}")
    if ratio < 2.0**-47:
        return 0, 63
    mantissa, exponent = np.frexp(ratio)  # ratio = mantissa * 2**exponent, mantissa in 0.5..1
    multiplier = round(float(mantissa) * (1 << MULTIPLIER_BITS))
    shift = MULTIPLIER_BITS - int(exponent)
    if multiplier == 1 << MULTIPLIER_BITS:
        multiplier, shift = multiplier >> 1, shift - 1
    return multiplier, shift
