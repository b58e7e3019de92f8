"""Requantisation of rows of sums, each channel by its own multiplier and shift."""

from dataclasses import dataclass
from itertools import product
from typing import ClassVar

import numpy as np

from moesaic.hls_templates.unit import Unit, Vectors
from moesaic.models.requant import Ints, requant

LARGEST = (1 << 47) - 1  # of a sum that `requant` takes


@dataclass(frozen=True, kw_only=True)
class Requantise(Unit):
    """``moesaic.models.requant.requant`` of rows of `channels` sums.

    Parameters
    ----------
    out_bits : int
        Of a result: 8, 16 or 24.
    channels, lanes : int
        Values of a row, and how many of them come at once.
    """

    kind: ClassVar[str] = "requantise"
    models: ClassVar[str] = "moesaic.models.requant"

    out_bits: int = 8
    channels: int = 32
    lanes: int = 8

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("out_bits", (8, 16, 24))
        self.check("channels", 1, 4096)
        self.check("lanes", 1, 64)

    def vectors(self, seed: int) -> Vectors:
        """Return all small sums by small shifts, ties of all shifts, and sums of every length."""
        rng = np.random.default_rng(seed)
        x, multiplier, shift = _cases(rng, self.channels)
        x, multiplier, shift = (v.reshape(-1, self.channels) for v in (x, multiplier, shift))
        return Vectors.of(
            {"x": x, "multiplier": multiplier, "shift": shift},
            {"y": requant(x, multiplier, shift, self.out_bits)},
        )


def _cases(rng: np.random.Generator, channels: int) -> tuple[Ints, Ints, Ints]:
    small = [np.array(list(product(range(-64, 64), (1, 3), range(5)))).T]
    ties = []
    for place in range(1, 48):  # an odd multiple of a half, a unit below and above
        odd = 2 * rng.integers(-20, 20, 4) + 1
        near = (odd[:, np.newaxis] << (place - 1)) + np.array([-1, 0, 1])
        near = near[np.abs(near) <= LARGEST]
        ties.append(np.stack([near, np.ones_like(near), np.full_like(near, place)]))
    count = 4000
    length = rng.integers(1, 48, count)
    sums = rng.integers(-(1 << length), 1 << length) // 2
    multipliers = rng.integers(1 << 15, 1 << 16, count)
    shifts = np.clip(length + rng.integers(-2, 20, count), 0, 63)
    edges = np.array(
        list(product((-LARGEST, -1, 0, 1, LARGEST), (0, 1, 1 << 15, 65535), (0, 1, 16, 47, 63)))
    ).T
    parts = [*small, *ties, np.stack([sums, multipliers, shifts]), edges]
    together = np.concatenate(parts, axis=1)
    x, multiplier, shift = np.pad(together, ((0, 0), (0, -together.shape[1] % channels)))
    return x, multiplier, shift
