"""Softmax of rows of scores, statistics in one pass."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.numerics import SOFTMAX
from moesaic.hls_templates.unit import Unit, Vectors, wide_bits
from moesaic.models.requant import Ints, limits
from moesaic.models.softmax import MAX_VALID, row_scale, row_sums, softmax

ROWS = 400
CANDIDATES, MOST = 4000, 6  # rows that are tried, and kept for each other number of lanes
MULTIPLIER, SHIFT = 40000, 20


@dataclass(frozen=True, kw_only=True)
class Softmax(Unit):
    """``moesaic.models.softmax.softmax`` of rows, of which the first `valid` scores count.

    Parameters
    ----------
    data_bits : int
        8 or 16: scores have 16 or 24 bits.
    length, lanes : int
        Scores of a row, and how many of them come at once; the order of the sum follows `lanes`.
    """

    kind: ClassVar[str] = "softmax"
    models: ClassVar[str] = "moesaic.models.softmax"
    needs: ClassVar[tuple[str, ...]] = SOFTMAX

    data_bits: int = 8
    length: int = 32
    lanes: int = 8

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("data_bits", (8, 16))
        self.check("length", 1, MAX_VALID)
        self.check("lanes", 1, 64)

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        return super().constants() | {"wide_bits": wide_bits(self.data_bits)}

    def vectors(self, seed: int) -> Vectors:
        """Return rows of many spreads, rising and falling ones, extremes, and any `valid`.

        Among them are rows whose result would be another if beats had more lanes or one.
        """
        rng = np.random.default_rng(seed)
        rows = max(24, ROWS // max(1, self.length // 16))
        x = score_rows(rng, rows, self.length, wide_bits(self.data_bits))
        valid = rng.integers(1, self.length, rows, endpoint=True)
        valid[rows // 2 :] = self.length
        multiplier = rng.integers(1 << 15, 1 << 16, rows)
        multiplier[rng.random(rows) < 0.1] = (1 << 16) - 1
        shift = rng.integers(0, 36, rows)
        shift[::2] = 44 + np.arange(len(shift[::2])) % 16  # where ratios become too small
        orders = ordered_rows(rng, self.length, lanes=self.lanes, data_bits=self.data_bits)
        x = np.concatenate([x, orders])
        more = len(orders)
        valid = np.append(valid, np.full(more, self.length))
        multiplier = np.append(multiplier, np.full(more, MULTIPLIER))
        shift = np.append(shift, np.full(more, SHIFT))
        outputs: list[tuple[Ints, Ints, Ints]] = [
            softmax(
                row[np.newaxis],
                valid=int(valid[i]),
                multiplier=int(multiplier[i]),
                shift=int(shift[i]),
                lanes=self.lanes,
                data_bits=self.data_bits,
            )
            for i, row in enumerate(x)
        ]
        p, scale, places = (np.concatenate(parts) for parts in zip(*outputs, strict=True))
        return Vectors.of(
            {"x": x, "valid": valid, "multiplier": multiplier, "shift": shift},
            {"p": p, "row_multiplier": scale, "row_shift": places},
        )


def score_rows(rng: np.random.Generator, rows: int, length: int, bits: int) -> Ints:
    """Return (rows, length) scores: many spreads, in order or not, and rows of limits."""
    low, high = limits(bits)
    spread = 2.0 ** rng.uniform(-4, bits - 9, (rows, 1)) * 256
    centre = rng.normal(0, 1024, (rows, 1))
    x = np.clip(np.rint(rng.normal(centre, spread, (rows, length))), low, high).astype(np.int64)
    x[0::5] = np.sort(x[0::5], axis=1)
    x[1::5] = -np.sort(-x[1::5], axis=1)
    x[2::10] = (x[2::10] >> 8) << 8  # whole powers
    x[3::20] = rng.choice(np.array([low, high]), x[3::20].shape)
    x[4::20] = low
    x[9::20] = high
    return x


def ordered_rows(rng: np.random.Generator, length: int, *, lanes: int, data_bits: int) -> Ints:
    """Return rising rows (..., length) whose scale depends on the lanes that sum them."""
    spread = rng.uniform(2560, 6144, (CANDIDATES, 1))
    low, high = limits(wide_bits(data_bits))
    x = np.sort(np.rint(rng.normal(0, spread, (CANDIDATES, length))), axis=1)
    x = np.clip(x, low, high).astype(np.int64)

    def scale(lanes: int) -> Ints:
        return row_scale(row_sums(x, lanes=lanes, data_bits=data_bits), MULTIPLIER, SHIFT)[0]

    own = scale(lanes)
    found = [np.flatnonzero(own != scale(other))[:MOST] for other in (1, 2 * lanes)]
    return x[np.unique(np.concatenate(found))]
