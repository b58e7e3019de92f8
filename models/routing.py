"""Routing of tokens to experts: softmax over an expert gate's logits, then the largest few.

The gate of V-MoE (Riquelme et al. 2021, section 2) as M3ViT uses it (Fan et al. 2022, section 3):
softmax over ALL experts, then top-k, and the chosen probabilities are the weights as they are. The
other order, top-k first and softmax over the chosen ones alone, is `renormalise`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesaic.models.exp2 import exp2
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.inverse import RESULT_BITS, inverse
from moesaic.models.softmax import row_sums

Ints = NDArray[np.int64]

GATE_SCORE_BITS = 16  # a gate score is an unsigned fraction; one becomes the largest code
MAX_EXPERTS = 64
MAX_TOP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """Which experts each token goes to, the best first, and with which scores.

    Parameters
    ----------
    experts : Ints
        (tokens, top)
    scores : Ints
        (tokens, top), in units of ``2**-GATE_SCORE_BITS``.
    count : int
        Experts that there are.
    """

    experts: Ints
    scores: Ints
    count: int

    def table(self) -> Ints:
        """Return scores as (tokens, count), -1 where a token does not go."""
        out = np.full((len(self.experts), self.count), -1, dtype=np.int64)
        np.put_along_axis(out, self.experts, self.scores, axis=1)
        return out

    def queue(self, expert: int) -> Ints:
        """Return the tokens of an expert, ascending."""
        return np.flatnonzero((self.experts == expert).any(axis=1))

    def bank_queue(self, expert: int, bank: int, banks: int) -> tuple[Ints, Ints]:
        """Return rows and scores of an expert's tokens in one of `banks`, in the hardware's order.

        First come the tokens whose best expert it is, then those whose second, and so on; within
        each the rows ascend. Token ``t`` lives in bank ``t % banks``, row ``t // banks``.
        """
        experts, scores = self.experts[bank::banks], self.scores[bank::banks]
        rank, row = np.nonzero((experts == expert).T)
        return row, scores[row, rank]


def largest(logits: Ints, top: int) -> Ints:
    """Return the places of the `top` largest of each row, (rows, top); ties: the lowest place."""
    return np.argsort(-logits, axis=1, kind="stable")[:, :top]


def route(
    logits: Ints, *, top: int, lanes: int, data_bits: int, renormalise: bool = False
) -> Routing:
    """Return each token's experts and scores.

    Parameters
    ----------
    logits : Ints
        (tokens, experts) wide codes with 8 fraction bits, in powers of two.
    top : int
        Experts of a token, 1 to 4.
    lanes : int
        Values per beat, whose order is part of the sum's numerics.
    data_bits : int
        8 or 16.
    renormalise : bool
        Divide by the sum over the chosen experts instead of all.

    Notes
    -----
    With the powers ``p`` of :mod:`moesaic.models.exp2`, relative to the row's maximum rounded up,
    and ``(mantissa, exponent)`` of :func:`moesaic.models.inverse.inverse` of their sum, a score is
    ``p * mantissa * 2**(16 - 18 - exponent)``, rounded half up, at most ``2**16 - 1``.
    """
    count = logits.shape[1]
    if not 1 <= top <= min(MAX_TOP, count):
        raise ValueError(f"top must be in 1..{min(MAX_TOP, count)}, not {top}")
    if count > MAX_EXPERTS:
        raise ValueError(f"experts must be at most {MAX_EXPERTS}, not {count}")
    experts = largest(logits, top)
    sums = row_sums(logits, lanes=lanes, data_bits=data_bits)
    reference = -(-sums.maximum >> SCORE_FRACTION_BITS) << SCORE_FRACTION_BITS
    chosen = np.take_along_axis(logits, experts, axis=1)
    powers = exp2(chosen - reference[:, np.newaxis], data_bits)
    mantissa, exponent = inverse(powers.sum(axis=1) if renormalise else sums.total)
    shift = (RESULT_BITS + exponent - GATE_SCORE_BITS)[:, np.newaxis]
    product = powers * mantissa[:, np.newaxis]
    scores = ((product >> (shift - 1)) + 1) >> 1
    limit = (1 << GATE_SCORE_BITS) - 1
    return Routing(experts=experts, scores=np.minimum(scores, limit), count=count)
