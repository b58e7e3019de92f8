"""LayerNorm of rows of wide values."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.unit import Unit, Vectors, sample, wide_bits
from moesaic.models import layernorm as model
from moesaic.models.inverse import RESULT_BITS
from moesaic.models.requant import Ints, limits

ROWS = 240


@dataclass(frozen=True, kw_only=True)
class LayerNorm(Unit):
    """``moesaic.models.layernorm.layernorm`` of rows of `channels` values.

    Parameters
    ----------
    data_bits : int
        8 or 16: values have 16 or 24 bits.
    channels, lanes : int
        Values of a row, and how many of them come at once.
    to_wide : bool
        Whether results are wide (a residual stream) or narrow.
    """

    kind: ClassVar[str] = "layernorm"
    models: ClassVar[str] = "moesaic.models.layernorm"
    needs: ClassVar[tuple[str, ...]] = ("integers", "streams", "requant", "inverse")

    data_bits: int = 8
    channels: int = 32
    lanes: int = 8
    to_wide: bool = False

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("data_bits", (8, 16))
        self.check("channels", 1, model.MAX_VALID)
        self.check("lanes", 1, 64)
        self.check_choice("to_wide", (False, True))

    @property
    def out_bits(self) -> int:
        """Bits of a result."""
        return wide_bits(self.data_bits) if self.to_wide else self.data_bits

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        wide = wide_bits(self.data_bits)
        field = model.reciprocal_field(self.channels)
        return super().constants() | {
            "wide_bits": wide,
            "out_bits": self.out_bits,
            "count_log2": field >> model.RECIPROCAL_BITS,
            "reciprocal": field & ((1 << model.RECIPROCAL_BITS) - 1),
            "reciprocal_bits": model.RECIPROCAL_BITS,
            "cut": model.cut_bits(wide),
            "mean_fraction": model.mean_fraction(wide),
            "max_valid_log2": model.MAX_VALID_LOG2,
            "scale_bits": model.SCALE_BITS,
            "root_bits": RESULT_BITS,
            "z_bits": model.Z_BITS,
            "z_fraction_bits": model.Z_FRACTION_BITS,
            "gain_bits": model.GAIN_BITS,
            "offset_bits": model.OFFSET_BITS,
            "epsilon_bits": model.EPSILON_BITS,
        }

    def vectors(self, seed: int) -> Vectors:
        """Return rows of many spreads and centres, constant ones, limits; any gain and offset."""
        rng = np.random.default_rng(seed)
        rows = max(16, ROWS // max(1, self.channels // 32))
        x = stream_rows(rng, rows, self.channels, wide_bits(self.data_bits))
        gain = sample(rng, model.GAIN_BITS, x.shape)
        offset = sample(rng, model.OFFSET_BITS, x.shape)
        offset >>= rng.integers(0, 16, (rows, 1))
        shift = rng.integers(0, 40, rows)
        shift[:2] = 0, 62
        epsilon = np.minimum(1 << rng.integers(0, 40, rows), (1 << 40) - 1)
        y = [
            model.layernorm(
                x[i],
                gain[i],
                offset[i],
                shift=int(shift[i]),
                epsilon=int(epsilon[i]),
                out_bits=self.out_bits,
                data_bits=self.data_bits,
            )
            for i in range(rows)
        ]
        return Vectors.of(
            {"x": x, "gain": gain, "offset": offset, "shift": shift, "epsilon": epsilon},
            {"y": np.array(y)},
        )


def stream_rows(rng: np.random.Generator, rows: int, channels: int, bits: int) -> Ints:
    """Return (rows, channels) values of a residual stream of `bits` bits."""
    low, high = limits(bits)
    spread = 2.0 ** rng.uniform(-1, bits - 2, (rows, 1))
    centre = rng.normal(0, 1, (rows, 1)) * 2.0 ** rng.uniform(0, bits - 2, (rows, 1))
    x = np.clip(np.rint(rng.normal(centre, spread, (rows, channels))), low, high).astype(np.int64)
    x[3::16] = x[3::16, :1]  # no variance but epsilon
    x[5::16] = rng.choice(np.array([low, high]), x[5::16].shape)
    x[7::16] = low
    x[9::16] = 0
    x[9::16, 0] = high  # one value alone
    return x
