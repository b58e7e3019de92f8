"""The gate of a mixture of experts: scores of the best experts of each token, and their queues."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.numerics import SOFTMAX
from moesaic.hls_templates.softmax import score_rows
from moesaic.hls_templates.unit import Unit, Vectors, wide_bits
from moesaic.models.errors import InputError
from moesaic.models.requant import Ints
from moesaic.models.routing import GATE_SCORE_BITS, MAX_EXPERTS, MAX_TOP, Routing, route

CASES = 24
EMPTY = -1  # a place of a queue that no token takes


@dataclass(frozen=True, kw_only=True)
class Gate(Unit):
    """``moesaic.models.routing.route`` of `tokens` tokens, and ``Routing.bank_queue`` of all banks.

    Parameters
    ----------
    data_bits : int
        8 or 16: logits have 16 or 24 bits.
    tokens, experts, top : int
        Tokens of a call, experts that there are, and experts of a token.
    banks : int
        Token ``t`` lives in bank ``t % banks``: 1 or 2.
    lanes : int
        Logits that come at once; the order of the sum follows it.
    renormalise : bool
        Divide by the sum over the chosen experts instead of all.
    """

    kind: ClassVar[str] = "gate"
    models: ClassVar[str] = "moesaic.models.routing"
    needs: ClassVar[tuple[str, ...]] = SOFTMAX

    data_bits: int = 8
    tokens: int = 16
    experts: int = 8
    top: int = 2
    banks: int = 1
    lanes: int = 8
    renormalise: bool = False

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("data_bits", (8, 16))
        self.check("tokens", 1, 4096)
        self.check("experts", 1, MAX_EXPERTS)
        self.check("top", 1, MAX_TOP)
        self.check("banks", 1, 2)
        self.check("lanes", 1, 64)
        self.check_choice("renormalise", (False, True))
        if self.top > self.experts:
            raise InputError(f"top must be in 1..{self.experts}, not {self.top}")

    @property
    def depth(self) -> int:
        """Places of a queue: one for each token of its bank."""
        return -(-self.tokens // self.banks)

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        return super().constants() | {
            "wide_bits": wide_bits(self.data_bits),
            "gate_score_bits": GATE_SCORE_BITS,
            "depth": self.depth,
            "empty": EMPTY,
        }

    def vectors(self, seed: int) -> Vectors:
        """Return logits of many spreads, with ties, and with one expert that takes all tokens."""
        rng = np.random.default_rng(seed)
        wide = wide_bits(self.data_bits)
        x = score_rows(rng, CASES * self.tokens, self.experts, wide)
        x = x.reshape(CASES, self.tokens, self.experts)
        x[1] >>= wide - 3  # ties
        x[2] = 7
        x[3] = rng.integers(-700, 700, x[3].shape)
        x[3, :, self.experts // 2] = 900
        results = [self._result(case) for case in x]
        return Vectors.of(
            {"x": x}, {name: np.array([r[name] for r in results]) for name in results[0]}
        )

    def _result(self, logits: Ints) -> dict[str, Ints]:
        routing = route(
            logits,
            top=self.top,
            lanes=self.lanes,
            data_bits=self.data_bits,
            renormalise=self.renormalise,
        )
        return {"expert": routing.experts, "score": routing.scores} | self._queues(routing)

    def _queues(self, routing: Routing) -> dict[str, Ints]:
        shape = (self.experts, self.banks, self.depth)
        length = np.zeros(shape[:2], dtype=np.int64)
        rows, scores = np.full(shape, EMPTY), np.full(shape, EMPTY)
        for expert in range(self.experts):
            for bank in range(self.banks):
                row, score = routing.bank_queue(expert, bank, self.banks)
                length[expert, bank] = len(row)
                rows[expert, bank, : len(row)] = row
                scores[expert, bank, : len(row)] = score
        return {"queue_length": length, "queue_row": rows, "queue_score": scores}
