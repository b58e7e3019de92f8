"""Weights, parameters and constants as bytes, in the order in which the units read them."""

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.scratch import ceil_div
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.graph import Ints
from moesaic.models.sparse import compress

Bytes = NDArray[np.uint8]


def to_bytes(values: NDArray[np.int64], width: int) -> Bytes:
    """Return integers as little-endian bytes, `width` bytes each, negative ones wrapped."""
    return values.astype(np.int64).astype(f"<i{width}").reshape(-1).view(np.uint8)


def weight_tiles(weight: Ints, spec: AccelSpec, nm: NM | None) -> tuple[Ints, Ints]:
    """Cut a matrix into lines of `rows` values: (n tiles, k tiles, columns, rows), and indices.

    `weight` is (inputs, outputs) by position, padded here with zeros to whole tiles. With `nm` the
    lines hold compressed values, and the indices say which of a group's inputs each belongs to.
    """
    rows, columns = spec.rows, spec.columns
    step = spec.operands_per_beat(nm)
    k_tiles, n_tiles = ceil_div(weight.shape[0], step), ceil_div(weight.shape[1], columns)
    padded = np.zeros((k_tiles * step, n_tiles * columns), dtype=np.int64)
    padded[: weight.shape[0], : weight.shape[1]] = weight
    if nm is None:
        values, indices = padded, np.zeros_like(padded)
    else:
        values, indices = compress(padded, nm)

    def tiles(x: Ints) -> Ints:
        return x.reshape(k_tiles, rows, n_tiles, columns).transpose(2, 0, 3, 1)

    return tiles(values), tiles(indices)


def pack_indices(indices: Ints) -> Bytes:
    """Return lines of indices, four bits each: two columns to a line."""
    flat = indices.reshape(-1).astype(np.uint8)
    return np.asarray(flat[0::2] | (flat[1::2] << 4), dtype=np.uint8)


def pack_params(bias: Ints, multiplier: Ints, shift: Ints) -> Bytes:
    """Return eight bytes for each output column: bias, multiplier, shift."""
    word = (
        (bias.astype(np.int64) & ((1 << 40) - 1)).astype(np.uint64)
        | (multiplier.astype(np.uint64) << np.uint64(40))
        | (shift.astype(np.uint64) << np.uint64(56))
    )
    return word.astype("<u8").view(np.uint8)


def pack_norm(gain: Ints, offset: Ints, lanes: int) -> Bytes:
    """Return eight bytes for each channel, padded to whole beats of the vector unit."""
    width = ceil_div(len(gain), lanes) * lanes
    word = np.zeros(width, dtype=np.uint64)
    word[: len(gain)] = (gain & 0xFFFF).astype(np.uint64) | (
        (offset & 0xFFFFFFFF).astype(np.uint64) << np.uint64(16)
    )
    return word.astype("<u8").view(np.uint8)


def pack_tokens(x: Ints, *, spec: AccelSpec, word: int, value_bytes: int) -> Bytes:
    """Return a matrix of tokens as a scratchpad's words: by row, then word, then bank."""
    banks = spec.tokens_per_beat
    rows, pitch = ceil_div(x.shape[0], banks), ceil_div(x.shape[1], word)
    padded = np.zeros((rows * banks, pitch * word), dtype=np.int64)
    padded[: x.shape[0], : x.shape[1]] = x
    image = padded.reshape(rows, banks, pitch, word).transpose(0, 2, 1, 3)
    return to_bytes(image, value_bytes)
