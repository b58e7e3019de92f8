"""SCALE of the vector unit: wide values to narrow ones, one multiplier for the whole tensor."""

import numpy as np
from numpy.typing import NDArray

from moesaic.models.requant import requant

Ints = NDArray[np.int64]


def scale(x: Ints, *, multiplier: int, shift: int, data_bits: int) -> Ints:
    """Return ``saturate(round(x * multiplier / 2**shift))`` in `data_bits` signed bits."""
    return requant(x, multiplier, shift, data_bits)
