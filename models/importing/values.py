"""Activations followed symbolically: which element of which layer's value sits where."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from math import prod

import numpy as np
from numpy.typing import NDArray

from moesaic.models.float_run import gelu
from moesaic.models.importing.meaning import check_size
from moesaic.models.importing.program import Array, UnsupportedError

Index = NDArray[np.int32]
Reals = NDArray[np.float64]
_GRID: Reals = np.concatenate([[0.0, 1.0], np.linspace(-10, 10, 401)])
_GELU_TOLERANCE = 5e-5  # GELU and its tanh form differ by 4.7e-4


@lru_cache(maxsize=256)
def identity_index(shape: tuple[int, ...]) -> Index:
    """Return the flat index of each element of a tensor; shared, so read-only."""
    check_size(shape)
    index = np.arange(prod(shape), dtype=np.int32).reshape(shape)
    index.flags.writeable = False
    return index


@dataclass(frozen=True, eq=False)
class Base:
    """Something whose elements views point at; `shape` is mostly (tokens, channels)."""

    shape: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class ImageBase(Base):
    """The input image (channels, height, width) before it is cut into patches."""


@dataclass(frozen=True, eq=False)
class ValueBase(Base):
    """The value of a layer that exists, in the network's own order of tokens."""

    name: str


@dataclass(frozen=True, eq=False)
class View:
    """A tensor whose element is ``base[index] * gain + offset``, or `offset` where index is -1."""

    base: Base
    index: Index
    gain: Reals | None = None
    offset: Reals | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.index.shape

    def moved(self, move: Callable[[Array], Array]) -> "View":
        """Apply a view operator."""
        gain = None if self.gain is None else move(self.gain)
        offset = None if self.offset is None else move(self.offset)
        return View(self.base, move(self.index), gain, offset)

    def reshaped(self, *shape: int) -> "View":
        """Reshape."""
        return self.moved(lambda a: a.reshape(shape))

    def matrix(self) -> "View":
        """Return the same with all axes but the last made one."""
        return self.reshaped(-1, self.shape[-1])

    def scaled(self, gain: Array | float, offset: Array | float | None = None) -> "View":
        """Multiply and then add constants that broadcast to the tensor."""
        new_gain: Reals = np.broadcast_to(np.asarray(gain, dtype=np.float64), self.shape)
        new_offset = None if self.offset is None else self.offset * new_gain
        if offset is not None:
            added = np.broadcast_to(np.asarray(offset, dtype=np.float64), self.shape)
            new_offset = added if new_offset is None else new_offset + added
        if (new_gain == 1).all():
            return View(self.base, self.index, self.gain, new_offset)
        whole = new_gain if self.gain is None else self.gain * new_gain
        return View(self.base, self.index, whole, new_offset)

    def same(self, other: "View") -> bool:
        """Whether both are the same tensor."""
        if self is other:
            return True

        def equal(a: Array | None, b: Array | None) -> bool:
            return a is b or (a is not None and b is not None and np.array_equal(a, b))

        pairs = ((self.gain, other.gain), (self.offset, other.offset), (self.index, other.index))
        return self.base is other.base and all(equal(a, b) for a, b in pairs)


def whole(base: Base, shape: tuple[int, ...] | None = None) -> View:
    """Return a view of all of `base`."""
    return View(base, identity_index(base.shape if shape is None else shape))


@dataclass(frozen=True, eq=False)
class LinearBase(Base):
    """``x @ weight + bias``, not yet a layer: columns may still be picked, scaled and moved."""

    x: View
    weight: Reals
    bias: Reals


@dataclass(frozen=True, eq=False)
class NormBase(Base):
    """LayerNorm without gain and offset, not yet a layer."""

    x: View
    epsilon: float


@dataclass(frozen=True, eq=False)
class ScoresBase(Base):
    """``q @ k.T`` per head, (heads, tokens, tokens); q and k are (heads, tokens, channels)."""

    q: View
    k: View


@dataclass(frozen=True, eq=False)
class ProbabilitiesBase(Base):
    """Softmax of `scores` times `scale`."""

    scores: ScoresBase
    scale: float


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A function of each element of a view, known by its samples: GELU in whatever spelling."""

    view: View
    samples: Reals
    labels: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.view.shape

    def affine(self) -> tuple[float, float] | None:
        """Return (gain, offset) if the function is affine."""
        offset = float(self.samples[0])
        gain = float(self.samples[1] - self.samples[0])
        fits = np.allclose(self.samples, gain * _GRID + offset, rtol=1e-6, atol=1e-9)
        return (gain, offset) if fits else None

    def gelu(self) -> tuple[float, bool] | None:
        """Return (factor, whether the tanh form) if the function is a multiple of GELU."""
        factor = float(self.samples[2 + 400]) / 10
        if not np.isfinite(self.samples).all() or not factor:
            return None
        for tanh in (False, True):
            error = np.abs(self.samples - factor * gelu(_GRID, tanh=tanh)).max()
            if error < _GELU_TOLERANCE * abs(factor):
                return factor, tanh
        return None


def elementwise(view: View) -> Elementwise:
    """Return the identity function of `view`."""
    return Elementwise(view, _GRID, ())


@dataclass(frozen=True, eq=False)
class Moment:
    """A step on the way to a LayerNorm spelt in primitive operators.

    `kind` is mean, centred, squared, variance, deviation (its root) or inverse (of the root).
    """

    view: View
    kind: str
    epsilon: float = 0.0

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        full = self.kind in ("centred", "squared")
        return self.view.shape if full else (*self.view.shape[:-1], 1)


@dataclass(frozen=True, eq=False)
class Unknown:
    """The output of an operator that was refused; what depends on it is not looked at."""


@dataclass(frozen=True, eq=False, slots=True)
class Form:
    """A view as a matrix: its rows and columns in the base, one gain and maybe one offset a column.

    `rows` is -1 where a row is constant; `offset` is (rows, columns).
    """

    rows: Index
    cols: Index
    gain: Reals
    offset: Reals

    @property
    def same_offset(self) -> bool:
        """Whether all rows are of the base and have one offset."""
        return bool((self.rows >= 0).all() and (self.offset == self.offset[:1]).all())

    def plain_columns(self, width: int) -> bool:
        """Whether columns are all those of the base in order, without gain."""
        in_order = len(self.cols) == width and bool((self.cols == np.arange(width)).all())
        return in_order and bool((self.gain == 1).all())


def form(view: View) -> Form:
    """Take a two-dimensional view apart, or raise UnsupportedError."""
    width = view.base.shape[-1]
    kept = np.asarray((view.index >= 0).all(axis=1))
    index = view.index[kept]
    if len(view.base.shape) != 2 or not len(index) or (view.index[~kept] >= 0).any():
        raise UnsupportedError("an activation that is not tokens by channels")
    rows, cols = index[:, 0] // width, index[0] % width
    if not np.array_equal(index, rows[:, None] * width + cols):
        raise UnsupportedError("mixes tokens and channels")
    gain = np.ones(len(cols)) if view.gain is None else view.gain[kept][0]
    if view.gain is not None and not (view.gain[kept] == gain).all():
        raise UnsupportedError("scales tokens apart")
    offset = np.zeros(view.shape) if view.offset is None else view.offset
    all_rows = np.full(len(kept), -1, dtype=np.int32)
    all_rows[kept] = rows
    return Form(all_rows, cols, gain, offset)
