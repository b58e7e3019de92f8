"""Elementwise operators on activations: affine steps, GELU and LayerNorm in primitive operators."""

from typing import Any

import numpy as np
from scipy.special import erf, expit

from moesaic.models.importing.meaning import ints
from moesaic.models.importing.program import Array, UnsupportedError
from moesaic.models.importing.tracer import Tracer, Value, handles
from moesaic.models.importing.values import (
    Elementwise,
    Moment,
    ProbabilitiesBase,
    ScoresBase,
    View,
    elementwise,
    form,
)

_UNARY: dict[str, Any] = {
    "neg": np.negative,
    "erf": erf,
    "tanh": np.tanh,
    "sigmoid": expit,
    "exp": np.exp,
    "reciprocal": lambda x: 1 / x,
}
_BINARY: dict[str, Any] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": np.divide,
    "pow": np.power,
}


def _function(tracer: Tracer, value: Value) -> Elementwise:
    return value if isinstance(value, Elementwise) else elementwise(tracer.plain(value))


def _label(tracer: Tracer, *values: Elementwise) -> tuple[str, ...]:
    """Return what to name if the function turns out to be none that is supported."""
    known = tuple(label for value in values for label in value.labels)
    return (
        known
        if tracer.op.kind in ("add", "sub", "mul", "div", "neg")
        else (*known, tracer.op.label)
    )


@handles("neg", "erf", "tanh", "sigmoid", "exp")
def _unary(tracer: Tracer, x: Value) -> Elementwise:
    f = _function(tracer, x)
    return Elementwise(f.view, _UNARY[tracer.op.kind](f.samples), _label(tracer, f))


def _scalar(value: Value) -> float | None:
    return float(value.reshape(())) if isinstance(value, np.ndarray) and value.size == 1 else None


def _fit(value: View, constant: Array) -> View:
    """Give the view the rank that it has after broadcasting with `constant`."""
    shape = np.broadcast_shapes(value.shape, constant.shape)
    if int(np.prod(shape)) != value.index.size:
        raise UnsupportedError("repeats an activation")
    return value if shape == value.shape else value.reshaped(*shape)


@handles("add", "sub", "mul", "div", "pow")
def _binary(tracer: Tracer, a: Value, b: Value) -> Value:
    kind = tracer.op.kind
    if isinstance(a, Moment) or isinstance(b, Moment):
        return _moment(tracer, kind, a, b)
    number_a, number_b = _scalar(a), _scalar(b)
    if number_a is not None or number_b is not None:
        f = _function(tracer, a if number_b is not None else b)
        if isinstance(constant := b if number_b is not None else a, np.ndarray):
            f = Elementwise(_fit(f.view, constant), f.samples, f.labels)
        operands = (f.samples, number_b) if number_b is not None else (number_a, f.samples)
        return Elementwise(f.view, _BINARY[kind](*operands), _label(tracer, f))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return _with_constant(tracer, kind, a, b)
    f, g = _function(tracer, a), _function(tracer, b)
    if f.view.same(g.view):
        return Elementwise(f.view, _BINARY[kind](f.samples, g.samples), _label(tracer, f, g))
    view_a, view_b = tracer.plain(a), tracer.plain(b)
    if kind == "add":
        return tracer.builder.add(view_a, view_b)
    if kind == "sub":
        return tracer.builder.add(view_a, view_b.scaled(-1.0))
    raise UnsupportedError("of two activations")


def _with_constant(tracer: Tracer, kind: str, a: Value, b: Value) -> Value:
    """Add to an activation, or scale it by, a constant of several values."""
    flipped = isinstance(a, np.ndarray)
    value, constant = (b, a) if flipped else (a, b)
    constant = np.asarray(constant, dtype=np.float64)
    view = _fit(tracer.plain(value), constant)
    if isinstance(view.base, ScoresBase | ProbabilitiesBase):
        if kind not in ("add", "sub") or constant.any():
            raise UnsupportedError("an attention mask")
        return view
    if kind in ("div", "pow") and flipped:
        raise UnsupportedError("divides by an activation")
    if kind == "pow":
        raise UnsupportedError("of several exponents")
    if kind in ("mul", "div"):
        return view.scaled(constant if kind == "mul" else 1 / constant)
    if kind == "sub":
        return view.scaled(-1.0, constant) if flipped else view.scaled(1.0, -constant)
    return view.scaled(1.0, constant)


@handles("mean")
def _mean(tracer: Tracer, x: Value, axes: Array | None = None, *, keepdims: bool = True) -> Value:
    """Mean over the channels (a step of LayerNorm) or over tokens (pooling)."""
    if isinstance(x, Moment):
        if x.kind != "squared" or not _last_axis(axes, len(x.shape)) or not keepdims:
            raise UnsupportedError("not part of a LayerNorm")
        return Moment(x.view, "variance")
    view = tracer.plain(x)
    rank = len(view.shape)
    if _last_axis(axes, rank) and keepdims and _spans_channels(view):
        return Moment(view, "mean")
    reduced = list(range(rank)) if axes is None else sorted(axis % rank for axis in ints(axes))
    kept = [axis for axis in range(rank) if axis not in reduced]
    count = int(np.prod([view.shape[axis] for axis in reduced]))
    pooled = tracer.builder.mean(
        view.moved(lambda a: a.transpose(*reduced, *kept).reshape(count, -1))
    )
    after = [1 if axis in reduced else size for axis, size in enumerate(view.shape)]
    return pooled.reshaped(*(after if keepdims else [view.shape[axis] for axis in kept]))


@handles("global_pool")
def _global_pool(tracer: Tracer, x: Value) -> Value:
    rank = len(tracer.plain(x).shape)
    return _mean(tracer, x, np.arange(2, rank) if rank > 3 else np.array([-1]))


@handles("gelu")
def _gelu(tracer: Tracer, x: Value, *, tanh: bool) -> View:
    return tracer.builder.gelu(tracer.plain(x), tanh=tanh)


def _last_axis(axes: Array | None, rank: int) -> bool:
    return axes is not None and axes.size == 1 and int(axes.reshape(())) % rank == rank - 1


def _spans_channels(view: View) -> bool:
    try:
        f = form(view.matrix())
    except UnsupportedError:
        return False
    return len(f.cols) == view.base.shape[-1]


def _moment(tracer: Tracer, kind: str, a: Value, b: Value) -> Value:
    """Take the next step towards a LayerNorm."""
    if isinstance(a, Moment) and isinstance(b, Moment):
        if not a.view.same(b.view):
            raise UnsupportedError("not part of a LayerNorm")
        if (kind, a.kind, b.kind) in (
            ("div", "centred", "deviation"),
            ("mul", "centred", "inverse"),
            ("mul", "inverse", "centred"),
        ):
            return tracer.builder.norm(a.view, max(a.epsilon, b.epsilon))
        if (kind, a.kind, b.kind) == ("mul", "centred", "centred"):
            return Moment(a.view, "squared")
    elif isinstance(b, Moment):
        return _moment_of(tracer, kind, b, a, flipped=True)
    elif isinstance(a, Moment):
        return _moment_of(tracer, kind, a, b, flipped=False)
    raise UnsupportedError("not part of a LayerNorm")


def _moment_of(tracer: Tracer, kind: str, moment: Moment, other: Value, *, flipped: bool) -> Value:
    number = _scalar(other)
    if kind == "add" and moment.kind == "variance" and number is not None:
        return Moment(moment.view, "variance", moment.epsilon + number)
    if kind == "pow" and not flipped and (moment.kind, number) == ("centred", 2.0):
        return Moment(moment.view, "squared")
    if kind == "pow" and not flipped and (moment.kind, number) == ("variance", 0.5):
        return Moment(moment.view, "deviation", moment.epsilon)
    if kind == "div" and flipped and (moment.kind, number) == ("deviation", 1.0):
        return Moment(moment.view, "inverse", moment.epsilon)
    if (kind, flipped, moment.kind) == ("sub", True, "mean"):
        centred = isinstance(other, View | Elementwise) and tracer.plain(other).same(moment.view)
        if centred:
            return Moment(moment.view, "centred")
    raise UnsupportedError("not part of a LayerNorm")


@handles("variance")
def _variance(tracer: Tracer, x: Value, axes: Array, *, keepdims: bool) -> Value:
    view = tracer.plain(x)
    if not (keepdims and _last_axis(axes, len(view.shape)) and _spans_channels(view)):
        raise UnsupportedError("not part of a LayerNorm")
    return Moment(view, "variance")


@handles("sqrt", "rsqrt", "reciprocal")
def _root(tracer: Tracer, x: Value) -> Value:
    kind = tracer.op.kind
    after = {"sqrt": "deviation", "rsqrt": "inverse", "reciprocal": "inverse"}[kind]
    if not isinstance(x, Moment):
        if kind == "reciprocal":
            return _unary(tracer, x)
        raise UnsupportedError("")
    if x.kind != ("deviation" if kind == "reciprocal" else "variance"):
        raise UnsupportedError("not part of a LayerNorm")
    return Moment(x.view, after, x.epsilon)
