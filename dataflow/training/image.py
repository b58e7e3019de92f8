"""Tensors of a step as bytes in memory, word by word as their memory on chip holds them."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.packing import Bytes, pack_indices
from moesaic.dataflow.training.places import Places
from moesaic.models.accel import AccelSpec
from moesaic.models.training.execute import Value, Weights
from moesaic.models.training.step import Kind, Tensor

ALIGN = 4096  # bytes


def tensor_bytes(tensor: Tensor, value: Value, spec: AccelSpec) -> tuple[Bytes, Bytes]:
    """Return a tensor's bytes, and those of its places where it is compact weights."""
    if isinstance(value, Weights):
        return _weights_bytes(value, spec)
    width = spec.act_word if tensor.kind == Kind.OPERAND else spec.lanes
    rows, channels = value.shape
    padded = np.zeros((rows, -(-channels // width) * width), dtype=value.dtype)
    padded[:, :channels] = value
    return padded.reshape(-1).view(np.uint8), np.zeros(0, dtype=np.uint8)


def _weights_bytes(value: Weights, spec: AccelSpec) -> tuple[Bytes, Bytes]:
    values = _lines(value.values, spec)
    data = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    if value.places is None:
        return data, np.zeros(0, dtype=np.uint8)
    return data, pack_indices(_lines(value.places, spec))


def _lines(matrix: NDArray[Any], spec: AccelSpec) -> NDArray[Any]:
    """Cut (inputs, outputs) into (n tiles, words, columns, word), filled up with zeros."""
    word, columns = spec.weight_word, spec.columns
    words, n_tiles = -(-matrix.shape[0] // word), -(-matrix.shape[1] // columns)
    padded = np.zeros((words * word, n_tiles * columns), dtype=matrix.dtype)
    padded[: matrix.shape[0], : matrix.shape[1]] = matrix
    return padded.reshape(words, word, n_tiles, columns).transpose(2, 0, 3, 1)


def read_tensor(tensor: Tensor, data: Bytes, places: Bytes, spec: AccelSpec) -> Value:
    """Return the tensor that bytes hold: the way back from :func:`tensor_bytes`."""
    if tensor.kind == Kind.WEIGHTS:
        return _read_weights(tensor, data, places, spec)
    kind = np.uint16 if tensor.kind == Kind.OPERAND else np.float32
    values = data.view(kind).reshape(tensor.rows, -1)
    return values[:, : tensor.channels].copy()


def _read_weights(tensor: Tensor, data: Bytes, places: Bytes, spec: AccelSpec) -> Weights:
    nm = tensor.nm
    inputs = tensor.channels if nm is None else -(-tensor.channels // nm.m) * nm.n
    word = spec.weight_word
    words = -(-inputs // word)

    def matrix(lines: NDArray[Any]) -> NDArray[Any]:
        whole = lines.reshape(-1, words, spec.columns, word).transpose(1, 3, 0, 2)
        return whole.reshape(words * word, -1)[:inputs, : tensor.rows]

    values = matrix(data.view(np.uint16)).copy()
    if nm is None:
        return Weights(values=values, places=None, nm=None)
    found = np.stack([places & 15, places >> 4], axis=1)
    return Weights(values=values, places=matrix(found).astype(np.int64), nm=nm)


def bytes_of(tensor: Tensor, places: Places) -> tuple[int, int]:
    """Return the bytes that a tensor takes in memory, and its places."""
    spec, store = places.spec, places.stores[tensor.name]
    _, words = places.size(tensor, store)
    if tensor.kind == Kind.WEIGHTS:
        return (
            words * spec.weight_word * spec.data_bytes,
            0 if tensor.nm is None else words * spec.weight_word // 2,
        )
    width = spec.act_word * spec.data_bytes if tensor.kind == Kind.OPERAND else 4 * spec.lanes
    return words * width, 0


@dataclass(slots=True, kw_only=True)
class Addresses:
    """Where tensors lie in memory, and their bytes; each with that of its places."""

    places: Places
    addresses: dict[str, tuple[int, int]] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    end: int = 0

    def put(self, tensor: Tensor) -> None:
        """Give a tensor an address behind all others."""
        data, places = self.sizes[tensor.name] = bytes_of(tensor, self.places)
        middle = _aligned(self.end + data)
        self.addresses[tensor.name] = (self.end, middle)
        self.end = _aligned(middle + places)


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN
