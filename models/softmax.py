"""Softmax in base two, in one pass: running maximum, running sum, and a second sweep that emits.

The running sum of Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), in
base two: the reference of the sum is the running maximum rounded up to a whole power, so a growing
maximum rescales the sum by a right shift. The second sweep emits powers relative to the exact
maximum, whose row therefore uses the whole narrow range; the division is left to the product that
follows, as a multiplier and a shift per row.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesaic.models.exp2 import (
    POWER_FRACTION_BITS,
    ROW_MANTISSA_BITS,
    exp2,
    round_power,
    row_mantissas,
)
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.inverse import RESULT_BITS, inverse
from moesaic.models.requant import MULTIPLIER_BITS

Ints = NDArray[np.int64]

MAX_VALID = 4096
LARGEST_SHIFT = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSums:
    """What the first sweep leaves of each row: its maximum, and its sum of powers.

    The sum is in units of :func:`moesaic.models.exp2.exp2` and relative to the maximum rounded up
    to a multiple of 256.
    """

    maximum: Ints
    total: Ints


def _ceiling(x: Ints) -> Ints:
    """Round up to whole powers."""
    return -(-x >> SCORE_FRACTION_BITS)


def row_sums(scores: Ints, *, lanes: int, data_bits: int) -> RowSums:
    """Sweep the rows of (rows, valid) scores in beats of `lanes`, the last one maybe shorter."""
    maximum = scores[:, :lanes].max(axis=1)
    total = np.zeros_like(maximum)
    for first in range(0, scores.shape[1], lanes):
        beat = scores[:, first : first + lanes]
        before = _ceiling(maximum)
        maximum = np.maximum(maximum, beat.max(axis=1))
        reference = _ceiling(maximum)
        powers = exp2(beat - (reference << SCORE_FRACTION_BITS)[:, np.newaxis], data_bits)
        total = (total >> np.minimum(reference - before, 63)) + powers.sum(axis=1)
    return RowSums(maximum=maximum, total=total)


def row_scale(sums: RowSums, multiplier: int, shift: int) -> tuple[Ints, Ints]:
    """Return multiplier and shift of each row: ``multiplier * 2**-shift`` over its narrow sum.

    The multiplier has 16 significant bits if the given one has; the shift is at most 62. A ratio
    too small for that becomes zero with a shift of 63.
    """
    mantissa, exponent = inverse(sums.total)
    fraction = sums.maximum & ((1 << SCORE_FRACTION_BITS) - 1)
    # 2**(maximum - reference) is 1 or between a half and 1: one more shift unless it is whole.
    below_one = (fraction != 0).astype(np.int64)
    both = mantissa * row_mantissas()[fraction]
    both = (both + (1 << (RESULT_BITS - 1))) >> RESULT_BITS
    product = both * multiplier
    drop = MULTIPLIER_BITS + (product >> 32 > 0) + (product >> 33 > 0)
    rounded = (product + (np.int64(1) << (drop - 1))) >> drop
    row_multiplier = np.minimum(rounded, (1 << MULTIPLIER_BITS) - 1)
    row_shift = shift + exponent + below_one + (ROW_MANTISSA_BITS - 1) - POWER_FRACTION_BITS - drop
    fits = row_shift <= LARGEST_SHIFT
    return np.where(fits, row_multiplier, 0), np.where(fits, row_shift, LARGEST_SHIFT + 1)


def softmax(
    scores: Ints, *, valid: int, multiplier: int, shift: int, lanes: int, data_bits: int
) -> tuple[Ints, Ints, Ints]:
    """Return narrow unnormalised probabilities, and multiplier and shift of each row.

    With these, ``requant(probs @ v, row_multiplier, row_shift, data_bits)`` is ``softmax(x) @ v``
    times ``multiplier * 2**-shift``.

    Parameters
    ----------
    scores : Ints
        (..., length) wide codes with 8 fraction bits, in powers of two.
    valid : int
        The first `valid` values of a row count, at most 4096; the others become zero.
    multiplier, shift : int
        Scale of the values over scale of the result, normalised as by
        :func:`moesaic.models.requant.quantise_ratio`.
    lanes : int
        Values per beat: the sum is rounded down when the maximum grows from beat to beat.
    data_bits : int
        8 or 16: probabilities are in 0..127 or 0..32767, and the largest of a row is that limit.
    """
    length = scores.shape[-1]
    if not 1 <= valid <= min(length, MAX_VALID):
        raise ValueError(f"valid must be in 1..{min(length, MAX_VALID)}, not {valid}")
    rows = scores.reshape(-1, length)[:, :valid].astype(np.int64)
    sums = row_sums(rows, lanes=lanes, data_bits=data_bits)
    row_multiplier, row_shift = row_scale(sums, multiplier, shift)
    probs = np.zeros((rows.shape[0], length), dtype=np.int64)
    probs[:, :valid] = round_power(exp2(rows - sums.maximum[:, np.newaxis], data_bits))
    lead = scores.shape[:-1]
    return probs.reshape(scores.shape), row_multiplier.reshape(lead), row_shift.reshape(lead)
