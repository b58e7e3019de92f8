"""GELU by table, of rows of wide codes."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from moesaic.hls_templates.unit import Unit, Vectors
from moesaic.models.gelu import SEGMENTS, STEP_LOG2, gelu, input_fraction
from moesaic.models.requant import limits


@dataclass(frozen=True, kw_only=True)
class Gelu(Unit):
    """``moesaic.models.gelu.gelu`` of rows of `channels` codes.

    Parameters
    ----------
    wide_bits : int
        Of a code: 16 or 24.
    channels, lanes : int
        Values of a row, and how many of them come at once.
    """

    kind: ClassVar[str] = "gelu"
    models: ClassVar[str] = "moesaic.models.gelu"
    needs: ClassVar[tuple[str, ...]] = ("integers", "streams", "gelu_table")

    wide_bits: int = 16
    channels: int = 32
    lanes: int = 8

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("wide_bits", (16, 24))
        self.check("channels", 1, 4096)
        self.check("lanes", 1, 64)

    def vectors(self, seed: int) -> Vectors:
        """Return all codes of 16 bits; of 24 bits those about every joint, and a sample."""
        low, high = limits(self.wide_bits)
        codes = np.arange(low, high + 1, 1 if self.wide_bits == 16 else 521)
        segment = 1 << (input_fraction(self.wide_bits) - STEP_LOG2)
        joints = np.arange(-SEGMENTS - 2, SEGMENTS + 3)[:, np.newaxis] * segment
        joints = (joints + np.array([-1, 0, 1])).ravel()
        more = np.random.default_rng(seed).integers(-segment * SEGMENTS, segment * SEGMENTS, 4000)
        x = np.clip(np.concatenate([codes, joints, more, [high]]), low, high)
        x = np.pad(x, (0, -len(x) % self.channels)).reshape(-1, self.channels)
        return Vectors.of({"x": x}, {"y": gelu(x, self.wide_bits)})
