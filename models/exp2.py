"""Powers of two with a table of the fraction: the exponential of softmax.

A mantissa is ``qmax * 2**fraction`` in 16 bits, where qmax is the largest narrow value, so that a
power of zero is exactly qmax.
"""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.segments import exp2_fraction, to_fraction_bits

Ints = NDArray[np.int64]

MANTISSA_BITS = 16
POWER_FRACTION_BITS = 16  # of a value that stands for narrow units
ROW_MANTISSA_BITS = 18


def guard_bits(data_bits: int) -> int:
    """Return the bits kept below the mantissa, so that small terms still count in a sum."""
    return data_bits


def power_bits(data_bits: int) -> int:
    """Return the unsigned bits that hold every power of at most zero."""
    return POWER_FRACTION_BITS + data_bits - 1


@cache
def mantissas(data_bits: int) -> Ints:
    """Return ``round(qmax * 2**(16 - data_bits) * 2**(i / 256))`` for i in 0..255: 16 bits."""
    qmax = (1 << (data_bits - 1)) - 1
    powers = (exp2_fraction(i, SCORE_FRACTION_BITS) for i in range(1 << SCORE_FRACTION_BITS))
    return np.array(
        [to_fraction_bits(qmax * p, MANTISSA_BITS - data_bits) for p in powers], dtype=np.int64
    )


@cache
def row_mantissas() -> Ints:
    """Return ``round(2**17 * 2**(i / 256))`` for i in 0..255: normalised 18 bits."""
    powers = (exp2_fraction(i, SCORE_FRACTION_BITS) for i in range(1 << SCORE_FRACTION_BITS))
    return np.array([to_fraction_bits(p, ROW_MANTISSA_BITS - 1) for p in powers], dtype=np.int64)


def exp2(difference: Ints, data_bits: int) -> Ints:
    """Return ``floor(qmax * 2**(difference / 256) * 2**16)``, up to the table's rounding.

    Parameters
    ----------
    difference : Ints
        At most zero, in units of 1/256.
    data_bits : int
        8 or 16.

    Returns
    -------
    Ints
        ``power_bits(data_bits)`` unsigned bits, in units of 2**-16 of a narrow value.
    """
    mantissa = mantissas(data_bits)[difference & ((1 << SCORE_FRACTION_BITS) - 1)]
    shift = np.minimum(-(difference >> SCORE_FRACTION_BITS), 63)
    return (mantissa << guard_bits(data_bits)) >> shift


def round_power(power: Ints) -> Ints:
    """Round what :func:`exp2` returns to a narrow value, half up."""
    return ((power >> (POWER_FRACTION_BITS - 1)) + 1) >> 1
