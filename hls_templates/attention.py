"""Attention of one head in the order of constant bandwidth: a key a step, whatever the slots."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.numerics import SOFTMAX
from moesaic.hls_templates.unit import Unit, Vectors, sample, wide_bits
from moesaic.models.matmul import acc_bits, matmul
from moesaic.models.requant import Ints, quantise_ratio, requant
from moesaic.models.softmax import MAX_VALID, softmax

CASES = 10


@dataclass(frozen=True, kw_only=True)
class Attention(Unit):
    """Scores, softmax and Mix of one head of :mod:`moesaic.models.execute`.

    Query ``t`` waits in slot ``t % slots`` and begins at key ``t % slots``, where the query before
    it in that slot has just ended, and goes around. So each step reads one key for all slots and at
    most one query, and at most one row of scores ends in it; values are read in the same order.
    Edge-MoE (arXiv 2305.18691) begins its queries so.

    Parameters
    ----------
    data_bits : int
        8 or 16.
    tokens, channels : int
        Of the head: queries and keys, and the length of each.
    slots : int
        Queries that share a key.
    lanes : int
        Scores that softmax takes at once; the order of its sum follows it, not that of the keys.
    """

    kind: ClassVar[str] = "attention"
    models: ClassVar[str] = "moesaic.models.execute, .softmax"
    needs: ClassVar[tuple[str, ...]] = SOFTMAX

    data_bits: int = 8
    tokens: int = 10
    channels: int = 8
    slots: int = 4
    lanes: int = 4

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("data_bits", (8, 16))
        self.check("tokens", 1, MAX_VALID)
        self.check("channels", 1, 256)
        self.check("slots", 1, 64)
        self.check("lanes", 1, 64)

    @property
    def steps(self) -> int:
        """Keys that are read, and values: `tokens` for each round of slots, then those left."""
        rounds, last = divmod(self.tokens - 1, self.slots)
        return (rounds + 1) * self.tokens + last

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        return super().constants() | {
            "wide_bits": wide_bits(self.data_bits),
            "acc_bits": acc_bits(self.data_bits),
            "steps": self.steps,
        }

    def vectors(self, seed: int) -> Vectors:
        """Return queries, keys and values of many sizes with scales that use their range."""
        rng = np.random.default_rng(seed)
        cases: list[dict[str, Ints]] = []
        results: list[Ints] = []
        for _ in range(CASES):
            q, k, v = (sample(rng, self.data_bits, (self.tokens, self.channels)) for _ in range(3))
            largest = np.abs(q @ k.T).max() + 1.0
            to_scores = quantise_ratio(256 * 2.0 ** rng.uniform(-1, 6) / largest)
            to_out = quantise_ratio(2.0 ** rng.uniform(-2, 1))
            cases.append(
                {"q": q, "k": k, "v": v, "scales": np.array([*to_scores, *to_out], dtype=np.int64)}
            )
            results.append(self._result(q, k, v, to_scores, to_out))
        inputs = {name: np.array([case[name] for case in cases]) for name in cases[0]}
        return Vectors.of(inputs, {"y": np.array(results)})

    def _result(
        self, q: Ints, k: Ints, v: Ints, to_scores: tuple[int, int], to_out: tuple[int, int]
    ) -> Ints:
        data = self.data_bits
        scores = requant(matmul(q, k.T, data_bits=data), *to_scores, wide_bits(data))
        p, multiplier, shift = softmax(
            scores,
            valid=self.tokens,
            multiplier=to_out[0],
            shift=to_out[1],
            lanes=self.lanes,
            data_bits=data,
        )
        return requant(matmul(p, v, data_bits=data), multiplier[:, None], shift[:, None], data)
