"""Softmax in base two: statistics of each row in one pass (or more), and a sweep that emits.

The running sum of Milakov and Gimelshein, "Online normalizer calculation for softmax" (2018), in
base two: the reference of the sum is the running maximum rounded up to a whole power, so a growing
maximum rescales the sum by a right shift. Edge-MoE (arXiv 2305.18691) makes attention's statistics
so too. The last sweep emits powers relative to the exact maximum, whose row therefore uses the
whole narrow range; the division is left to the product that follows, as a multiplier and a shift
per row.

To compare, the same can be done in more passes over the scores before the one that emits:

1. Maximum and rescaled sum together, as above.
2. The maximum first, then the sum relative to it: the "safe softmax" of Milakov and Gimelshein,
   whose third loop is the sweep that emits.
3. As two, then a pass that writes the powers; the sweep that emits walks over them once more. This
   is softmax made of separate steps: maximum, sum, powers that are stored, and their division.
   The vector unit reads scores again, since it cannot read what it wrote, and writes the same
   values, since the division is still the product's: time and writes are those of the separate
   steps, all results those of two passes.

The textbook's three loops (maximum; powers stored and summed; division) are as many sweeps as two
passes and the one that emits. Powers are not stored in the pass that sums, since the sum is
relative to the maximum rounded up and the powers to the maximum itself.
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
PASSES = (1, 2, 3)
LARGEST_SHIFT = 62


@dataclass(frozen=True, slots=True, kw_only=True)
class RowSums:
    """What is known of each row before the sweep that emits: its maximum, and its sum of powers.

    The sum is in units of :func:`moesaic.models.exp2.exp2` and relative to the maximum rounded up
    to a multiple of 256.
    """

    maximum: Ints
    total: Ints


def _ceiling(x: Ints) -> Ints:
    """Round up to whole powers."""
    return -(-x >> SCORE_FRACTION_BITS)


def row_sums(scores: Ints, *, lanes: int, data_bits: int, passes: int = 1) -> RowSums:
    """Sweep the rows of (rows, valid) scores in beats of `lanes`, the last one maybe shorter.

    With more than one pass all powers are relative to the row's maximum, and nothing is rescaled.
    """
    maximum = (scores if passes > 1 else scores[:, :lanes]).max(axis=1)
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
    scores: Ints,
    *,
    valid: int,
    multiplier: int,
    shift: int,
    lanes: int,
    data_bits: int,
    passes: int = 1,
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
        Values per beat: the sum is rounded down when the maximum grows from beat to beat, in one
        pass.
    data_bits : int
        8 or 16: probabilities are in 0..127 or 0..32767, and the largest of a row is that limit.
    passes : int
        1, 2 or 3, as above. Probabilities do not depend on it; row multipliers of 2 and 3 may
        differ from those of 1 in their last bits.
    """
    if passes not in PASSES:
        raise ValueError(f"passes must be 1, 2 or 3, not {passes}")
    length = scores.shape[-1]
    if not 1 <= valid <= min(length, MAX_VALID):
        raise ValueError(f"valid must be in 1..{min(length, MAX_VALID)}, not {valid}")
    rows = scores.reshape(-1, length)[:, :valid].astype(np.int64)
    sums = row_sums(rows, lanes=lanes, data_bits=data_bits, passes=passes)
    row_multiplier, row_shift = row_scale(sums, multiplier, shift)
    probs = np.zeros((rows.shape[0], length), dtype=np.int64)
    probs[:, :valid] = round_power(exp2(rows - sums.maximum[:, np.newaxis], data_bits))
    lead = scores.shape[:-1]
    return probs.reshape(scores.shape), row_multiplier.reshape(lead), row_shift.reshape(lead)
