"""The N largest of every M numbers by magnitude: what makes N:M weights out of dense ones.

Magnitudes are compared as patterns without their sign, so of equal ones the lowest index is kept,
zeros of both signs are equal, and a NaN is larger than infinity: it is kept, so that it is seen.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.float_format import FloatFormat
from moesaic.models.requant import Ints
from moesaic.models.sparse import grouped

Numbers = NDArray[Any]


def select(groups: Numbers, nm: NM, fmt: FloatFormat) -> tuple[Numbers, Ints]:
    """Return values and places, both (..., n), of the largest of each group (..., m) of patterns.

    Places are 0..m-1 and ascend.
    """
    if groups.shape[-1] != nm.m:
        raise ValueError(f"groups must have {nm.m} numbers, not {groups.shape[-1]}")
    magnitudes = groups.astype(np.int64) & (fmt.sign - 1)
    largest = np.argsort(-magnitudes, axis=-1, kind="stable")[..., : nm.n]
    places = np.sort(largest, axis=-1).astype(np.int64)
    return np.take_along_axis(groups, places, axis=-1), places


def select_rows(weight: Numbers, nm: NM, fmt: FloatFormat) -> tuple[Numbers, Ints]:
    """Return the compact form of a matrix (K, outputs): values and places, (groups * n, outputs).

    Groups are M consecutive rows of one column, the last one filled up with +0.
    """
    groups = np.moveaxis(grouped(weight, nm), 1, 2)  # (groups, outputs, m)
    values, places = select(groups, nm, fmt)
    outputs = weight.shape[1]
    return (
        np.moveaxis(values, 2, 1).reshape(-1, outputs),
        np.moveaxis(places, 2, 1).reshape(-1, outputs),
    )
