"""What operators mean in numpy: views move elements about, numbers are computed at import time.

A view works alike on constants and on the index array of an activation (see `values`), which is
how reshapes, transposes, splits and slices of any order are followed without patterns.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
from scipy.special import erf, expit

from moesaic.models.importing.program import ELEMENT_LIMIT, Array, UnsupportedError


def check_size(shape: Sequence[int]) -> None:
    """Refuse tensors that only a file made to hurt would have."""
    if prod(int(size) for size in shape) > ELEMENT_LIMIT:
        raise UnsupportedError(f"makes more than {ELEMENT_LIMIT} values")


def ints(array: Array) -> list[int]:
    """Return a constant as a list of integers."""
    return [int(value) for value in np.asarray(array).reshape(-1)]


def _reshape(x: Array, shape: Array, *, zero_copies: bool = False) -> Array:
    sizes = ints(shape)
    if zero_copies:
        sizes = [size or x.shape[place] for place, size in enumerate(sizes)]
    return x.reshape(sizes)


def _flatten(x: Array, *, start: int, end: int) -> Array:
    start, end = start % max(x.ndim, 1), end % max(x.ndim, 1)
    return x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])


def _flatten_to_2d(x: Array, *, axis: int) -> Array:
    axis = axis + x.ndim if axis < 0 else axis
    return x.reshape(prod(x.shape[:axis]), -1)


def _squeeze(x: Array, axes: Array | None = None) -> Array:
    chosen = range(x.ndim) if axes is None else [axis % x.ndim for axis in ints(axes)]
    kept = [s for place, s in enumerate(x.shape) if place not in chosen or s != 1]
    return x.reshape(kept)


def _unsqueeze(x: Array, axes: Array) -> Array:
    return np.expand_dims(x, tuple(ints(axes)))


def _slice(
    x: Array, starts: Array, ends: Array, axes: Array | None = None, steps: Array | None = None
) -> Array:
    begin, end = ints(starts), ints(ends)
    along = range(len(begin)) if axes is None else ints(axes)
    step = [1] * len(begin) if steps is None else ints(steps)
    parts = [slice(None)] * x.ndim
    for axis, first, last, by in zip(along, begin, end, step, strict=True):
        parts[axis] = slice(first, None if by < 0 and last < -x.shape[axis] else last, by)
    return x[tuple(parts)]


def _gather(x: Array, index: Array, *, axis: int = 0) -> Array:
    check_size((*np.delete(x.shape, axis), index.size))
    if index.size and not -x.shape[axis] <= index.min() <= index.max() < x.shape[axis]:
        raise UnsupportedError("index out of range")
    return np.take(x, index.astype(np.int64), axis=axis)


def _split(
    x: Array, sizes: Array | None = None, *, axis: int, parts: int = 0, by: int = 0
) -> list[Array]:
    if sizes is not None:
        cuts = np.cumsum(ints(sizes))
        if cuts[-1] != x.shape[axis]:
            raise UnsupportedError("split sizes that do not fit")
        return np.split(x, cuts[:-1], axis=axis)
    each = by or -(-x.shape[axis] // parts)
    return np.split(x, range(each, x.shape[axis], each), axis=axis)


def _unbind(x: Array, *, axis: int) -> list[Array]:
    return list(np.moveaxis(x, axis, 0))


def _expand(x: Array, shape: Array) -> Array:
    sizes = ints(shape)
    lead = len(sizes) - x.ndim
    wanted = [x.shape[p - lead] if s == -1 else s for p, s in enumerate(sizes)]
    full = np.broadcast_shapes(x.shape, tuple(wanted))
    check_size(full)
    return np.broadcast_to(x, full)


def _tile(x: Array, repeats: Array) -> Array:
    counts = ints(repeats)
    check_size([x.size, *counts])
    return np.tile(x, counts)


def _unflatten(x: Array, sizes: Array, *, axis: int) -> Array:
    axis %= x.ndim
    return x.reshape(*x.shape[:axis], *ints(sizes), *x.shape[axis + 1 :])


def _swap(x: Array, *, a: int, b: int) -> Array:
    return x if x.ndim < 2 else np.swapaxes(x, a, b)


VIEWS: dict[str, Callable[..., Any]] = {
    "identity": lambda x: x,
    "reshape": _reshape,
    "permute": lambda x, *, axes=None: np.transpose(x, axes),
    "swap": _swap,
    "flatten": _flatten,
    "flatten_to_2d": _flatten_to_2d,
    "squeeze": _squeeze,
    "unsqueeze": _unsqueeze,
    "slice": _slice,
    "gather": _gather,
    "split": _split,
    "unbind": _unbind,
    "expand": _expand,
    "tile": _tile,
    "unflatten": _unflatten,
    "flip": lambda x, *, axes: np.flip(x, axes),
}


def _sized(function: Callable[..., Array]) -> Callable[..., Array]:
    """Check the size of what an elementwise function makes before it is made."""

    def checked(*arrays: Array, **attributes: Any) -> Array:
        check_size(np.broadcast_shapes(*(np.shape(a) for a in arrays)))
        return np.asarray(function(*arrays, **attributes))

    return checked


def _div(a: Array, b: Array) -> Array:
    """Divide; integers are cut towards zero."""
    if a.dtype.kind in "iu" and b.dtype.kind in "iu":
        return np.asarray(np.trunc(a / b)).astype(a.dtype)
    return np.asarray(a / b)


def _pow(a: Array, b: Array) -> Array:
    return np.asarray(np.power(a.astype(np.float64), b)).astype(a.dtype)


def _matmul(a: Array, b: Array) -> Array:
    check_size((*a.shape[:-1], b.shape[-1]))
    return np.asarray(a @ b)


def _range(start: Array, stop: Array, step: Array) -> Array:
    first, last, by = (np.asarray(v).reshape(()).item() for v in (start, stop, step))
    check_size([max(0, int(np.ceil((last - first) / by)))])
    return np.arange(first, last, by)


def _full(shape: Array, *, value: Any, dtype: Any) -> Array:
    check_size(ints(shape))
    return np.full(ints(shape), value, dtype=dtype)


def _concat(*arrays: Array, axis: int) -> Array:
    check_size([sum(array.size for array in arrays)])
    return np.concatenate([a for a in arrays if a.shape != (0,)], axis=axis)


def _any(x: Array, axes: Array | None = None, *, keepdims: bool = False) -> Array:
    along = None if axes is None else tuple(ints(axes))
    return np.asarray(np.any(x, along, keepdims=keepdims))


NUMBERS: dict[str, Callable[..., Array]] = {
    "add": _sized(np.add),
    "sub": _sized(np.subtract),
    "mul": _sized(np.multiply),
    "div": _sized(_div),
    "floordiv": _sized(np.floor_divide),
    "mod": _sized(np.mod),
    "pow": _sized(_pow),
    "max": _sized(np.maximum),
    "min": _sized(np.minimum),
    "neg": _sized(np.negative),
    "sqrt": _sized(np.sqrt),
    "rsqrt": _sized(lambda x: 1 / np.sqrt(x)),
    "reciprocal": _sized(lambda x: 1 / x),
    "exp": _sized(np.exp),
    "erf": _sized(erf),
    "tanh": _sized(np.tanh),
    "sigmoid": _sized(expit),
    "floor": _sized(np.floor),
    "ceil": _sized(np.ceil),
    "abs": _sized(np.abs),
    "not": _sized(np.logical_not),
    "and": _sized(np.logical_and),
    "or": _sized(np.logical_or),
    "equal": _sized(np.equal),
    "less": _sized(np.less),
    "greater": _sized(np.greater),
    "less_equal": _sized(np.less_equal),
    "greater_equal": _sized(np.greater_equal),
    "isnan": _sized(np.isnan),
    "where": _sized(np.where),
    "cast": _sized(lambda x, *, dtype: x.astype(dtype)),
    "cast_like": _sized(lambda x, like: x.astype(like.dtype)),
    "any": _any,
    "gather_elements": lambda x, index, *, axis: np.take_along_axis(x, index, axis),
    "matmul": _matmul,
    "range": _range,
    "full": _full,
    "concat": _concat,
    "pack": lambda *numbers: np.array([int(n) for n in numbers], dtype=np.int64),
}
