"""Weights, parameters and constants as bytes, in the order in which the units read them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.scratch import ceil_div
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.graph import Ints, Product
from moesaic.models.sparse import compress

Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """What will lie in memory: its size in bytes, and how the bytes are made when they are wanted.

    Where data lie and how long they take follows from their sizes alone. Equal means the same
    object.
    """

    size: int
    make: Callable[[], Bytes]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductData:
    """A product's weights, indices and parameters, a run of output tiles at a time.

    Parameters
    ----------
    node : Product
    spec : AccelSpec
    nm : NM or None
        Format of the weights.
    inputs, outputs : Ints
        Positions of the channels, ascending.
    """

    node: Product
    spec: AccelSpec
    nm: NM | None
    inputs: Ints
    outputs: Ints

    @property
    def k_tiles(self) -> int:
        """Tiles along the contraction."""
        return ceil_div(int(self.inputs[-1]) + 1, self.spec.operands_per_beat(self.nm))

    def weights(self, first: int, count: int) -> Data:
        """Return the weights of `count` output tiles from `first` on."""
        spec = self.spec
        size = count * self.k_tiles * spec.columns * spec.rows * spec.data_bytes
        return Data(size, lambda: to_bytes(self._tiles(first, count)[0], spec.data_bytes))

    def indices(self, first: int, count: int) -> Data:
        """Return the indices of compressed weights."""
        size = count * self.k_tiles * self.spec.columns * self.spec.rows // 2
        return Data(size, lambda: pack_indices(self._tiles(first, count)[1]))

    def params(self, first: int, count: int) -> Data:
        """Return bias, multiplier and shift of the columns."""
        node = self.node
        values = (node.bias, node.multiplier, node.shift)
        return Data(
            count * self.spec.columns * 8,
            lambda: pack_params(*(self._columns(v, first, count) for v in values)),
        )

    def _tiles(self, first: int, count: int) -> tuple[Ints, Ints]:
        placed = np.zeros((int(self.inputs[-1]) + 1, count * self.spec.columns), dtype=np.int64)
        placed[self.inputs] = self._columns(self.node.weight, first, count)
        return weight_tiles(placed, self.spec, self.nm)

    def _columns(self, values: Ints, first: int, count: int) -> Ints:
        """Return values of output channels (the last axis) by position in the tiles."""
        start, stop = first * self.spec.columns, (first + count) * self.spec.columns
        there = (start <= self.outputs) & (self.outputs < stop)
        out = np.zeros((*values.shape[:-1], stop - start), dtype=np.int64)
        out[..., self.outputs[there] - start] = values[..., there]
        return out


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


def norm_data(gain: Ints, offset: Ints, lanes: int) -> Data:
    """Return what :func:`pack_norm` makes."""
    return Data(ceil_div(len(gain), lanes) * lanes * 8, lambda: pack_norm(gain, offset, lanes))


def token_data(x: Ints, *, spec: AccelSpec, word: int, value_bytes: int) -> Data:
    """Return what :func:`pack_tokens` makes."""
    words = ceil_div(x.shape[0], spec.tokens_per_beat) * ceil_div(x.shape[1], word)
    return Data(
        words * spec.tokens_per_beat * word * value_bytes,
        lambda: pack_tokens(x, spec=spec, word=word, value_bytes=value_bytes),
    )
