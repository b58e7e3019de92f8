"""N:M sparsity along the contraction: at most N of every M consecutive weights are not zero.

Weights are (K, outputs); groups are M consecutive rows of one column. Where K is no multiple of M
the last group is filled up with zeros, so compressed weights always have whole groups.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.requant import Ints


def padded(rows: int, nm: NM) -> int:
    """Return `rows` rounded up to whole groups."""
    return -(-rows // nm.m) * nm.m


def grouped(weight: NDArray[Any], nm: NM) -> NDArray[Any]:
    """Return (groups, m, outputs) of a (K, outputs) matrix, filled up with zeros."""
    rows, outputs = weight.shape
    filled = np.zeros((padded(rows, nm), outputs), dtype=weight.dtype)
    filled[:rows] = weight
    return filled.reshape(-1, nm.m, outputs)


def prune(weight: NDArray[Any], nm: NM) -> NDArray[np.bool_]:
    """Return the mask (K, outputs) of the N largest magnitudes of each group.

    Of equal magnitudes the lowest index is kept. InputError for NaN.
    """
    if np.isnan(weight).any():
        raise InputError("weights must be finite, but hold NaN")
    groups = grouped(np.abs(weight.astype(np.result_type(weight.dtype, np.int16))), nm)
    order = np.argsort(-groups, axis=1, kind="stable")
    mask = np.zeros(groups.shape, dtype=np.bool_)
    np.put_along_axis(mask, order[:, : nm.n], values=True, axis=1)
    return mask.reshape(-1, weight.shape[1])[: weight.shape[0]]


def is_nm(weight: NDArray[Any], nm: NM) -> bool:
    """Tell whether no group has more than N weights that are not zero."""
    return bool((np.count_nonzero(grouped(weight, nm), axis=1) <= nm.n).all())


def check_nm(weight: NDArray[Any], nm: NM) -> None:
    """Raise InputError that names the first group with more than N weights that are not zero."""
    counts = np.count_nonzero(grouped(weight, nm), axis=1)
    if (counts > nm.n).any():
        group, output = (int(i) for i in np.argwhere(counts > nm.n)[0])
        raise InputError(
            f"weights must be {nm}, but rows {group * nm.m}..{group * nm.m + nm.m - 1} of column "
            f"{output} hold {counts[group, output]} that are not zero"
        )


def compress(weight: NDArray[Any], nm: NM) -> tuple[NDArray[Any], Ints]:
    """Return ``(values, indices)``, both (groups * n, outputs), of an N:M matrix (K, outputs).

    An index is the place in its group, 0..m-1, ascending within the group. Where fewer than N are
    not zero, zero values take the lowest unused places. InputError where `weight` is not N:M.
    """
    check_nm(weight, nm)
    groups = grouped(weight, nm)
    first = np.argsort(groups == 0, axis=1, kind="stable")[:, : nm.n]
    indices = np.sort(first, axis=1)
    values = np.take_along_axis(groups, indices, axis=1)
    outputs = weight.shape[1]
    return values.reshape(-1, outputs), indices.reshape(-1, outputs).astype(np.int64)


def expand(values: NDArray[Any], indices: Ints, nm: NM, rows: int) -> NDArray[Any]:
    """Return the (rows, outputs) matrix that `compress` made into `values` and `indices`."""
    kept, outputs = values.shape
    groups = np.zeros((kept // nm.n, nm.m, outputs), dtype=values.dtype)
    shape = (kept // nm.n, nm.n, outputs)
    np.put_along_axis(groups, indices.reshape(shape), values.reshape(shape), axis=1)
    return groups.reshape(-1, outputs)[:rows]
