"""Matrix products, norms, softmax and convolutions on activations."""

from math import prod
from typing import Any

import numpy as np

from moesaic.models.importing.meaning import check_size
from moesaic.models.importing.program import Array, UnsupportedError
from moesaic.models.importing.tracer import Tracer, Value, handles
from moesaic.models.importing.values import (
    Elementwise,
    ProbabilitiesBase,
    ScoresBase,
    Unknown,
    View,
    identity_index,
    whole,
)


def _swapped(view: View) -> View:
    return view.moved(lambda a: np.swapaxes(a, -1, -2))


def _linear(tracer: Tracer, x: Value, weight: Array, bias: Array | None) -> View:
    view = tracer.plain(x)
    flat = tracer.builder.linear(view.matrix(), weight, bias)
    return flat.reshaped(*view.shape[:-1], weight.shape[-1])


@handles("linear")
def _linear_layer(tracer: Tracer, x: Value, weight: Value, bias: Value | None = None) -> View:
    """Linear layer with weight (outputs, inputs)."""
    if not isinstance(weight, np.ndarray) or not (bias is None or isinstance(bias, np.ndarray)):
        raise UnsupportedError("weights that are not constant")
    return _linear(tracer, x, weight.T, bias)


@handles("matmul")
def _matmul(tracer: Tracer, a: Value, b: Value) -> View:
    if isinstance(b, np.ndarray):
        return _linear(tracer, a, _flat_weight(b), None)
    if isinstance(a, np.ndarray):
        view = _swapped(tracer.plain(b))
        return _swapped(_linear(tracer, view, _flat_weight(a).T, None))
    left, left_scale = _unscaled(tracer, a)
    right, right_scale = _unscaled(tracer, b)
    if left.shape[:-2] != right.shape[:-2] or left.shape[-1] != right.shape[-2]:
        raise UnsupportedError(f"of shapes {left.shape} and {right.shape}")
    scale = left_scale * right_scale
    product = _mix if isinstance(left.base, ProbabilitiesBase) else _scores
    return product(tracer, left, right, scale).reshaped(*left.shape[:-1], right.shape[-1])


@handles("einsum")
def _einsum(tracer: Tracer, *operands: Value, equation: str) -> View:
    """Bring an Einstein sum of two operands to a matrix product."""
    left, arrow, result = equation.replace(" ", "").partition("->")
    terms = left.split(",")
    if not arrow or len(terms) != 2 or len(operands) != 2 or "." in equation:
        raise UnsupportedError(f"equation {equation!r:.60}")
    first, second = terms
    batch = [c for c in result if c in first and c in second]
    summed = [c for c in first if c in second and c not in result]
    rows = [c for c in first if c not in second]
    columns = [c for c in second if c not in first]
    shapes = [x.shape for x in operands if not isinstance(x, Unknown)]
    sizes = dict(zip(first + second, (*shapes[0], *shapes[1]), strict=True))
    if sorted(batch + rows + columns) != sorted(result):
        raise UnsupportedError(f"equation {equation!r:.60}")

    def turned(value: Value, term: str, *groups: list[str]) -> Value:
        axes = [term.index(c) for group in groups for c in group]
        shape = [sizes[c] for c in batch] + [prod(sizes[c] for c in g) for g in groups[1:]]

        def turn(a: Array) -> Array:
            return a.transpose(axes).reshape(shape)

        if isinstance(value, np.ndarray):
            return turn(value)
        if isinstance(value, Elementwise):
            return Elementwise(value.view.moved(turn), value.samples, value.labels)
        return tracer.plain(value).moved(turn)

    a = turned(operands[0], first, batch, rows, summed)
    product = _matmul(tracer, a, turned(operands[1], second, batch, summed, columns))
    order = batch + rows + columns
    full = product.reshaped(*(sizes[c] for c in order))
    return full.moved(lambda x: x.transpose([order.index(c) for c in result]))


def _flat_weight(weight: Array) -> Array:
    if weight.size != int(np.prod(weight.shape[-2:])) or weight.ndim < 2:
        raise UnsupportedError(f"weight of shape {weight.shape}")
    return weight.reshape(weight.shape[-2:])


def _unscaled(tracer: Tracer, value: Value) -> tuple[View, float]:
    """Take a single factor out of an operand, so that it scales the product."""
    if isinstance(value, Elementwise):
        affine = value.affine()
        if affine is not None and affine[1] == 0:
            return value.view, affine[0]
    return tracer.plain(value), 1.0


def _groups(view: View) -> View:
    """Make all axes but the last two one: heads."""
    return view.reshaped(int(np.prod(view.shape[:-2])), *view.shape[-2:])


def _scores(_: Tracer, q: View, k_turned: View, scale: float) -> View:
    for view in (q, k_turned):
        if isinstance(view.base, ScoresBase | ProbabilitiesBase):
            raise UnsupportedError("attention inside attention")
    q, k = _groups(q), _swapped(_groups(k_turned))
    if q.shape != k.shape:
        raise UnsupportedError(f"attention of shapes {q.shape} and {k.shape}")
    shape = (q.shape[0], q.shape[1], k.shape[1])
    check_size(shape)
    scores = whole(ScoresBase(shape, q, k))
    return scores if scale == 1 else scores.scaled(scale)


def _mix(tracer: Tracer, p: View, v: View, scale: float) -> View:
    base = p.base
    ordered = np.array_equal(_groups(p).index, identity_index(base.shape))
    plain = p.gain is None and p.offset is None and ordered
    if not isinstance(base, ProbabilitiesBase) or not plain:
        raise UnsupportedError("attention probabilities that are changed")
    v = _groups(v)
    settled = tracer.builder.attention(base.scores.q, base.scores.k, v, base.scale)
    heads, tokens, channels = v.shape
    mixed = settled.view((tokens, heads, channels)).moved(lambda a: a.transpose(1, 0, 2))
    return mixed if scale == 1 else mixed.scaled(scale)


@handles("softmax")
def _softmax(tracer: Tracer, x: Value, *, axis: int) -> View:
    view = tracer.plain(x)
    base = view.base
    if not isinstance(base, ScoresBase):
        raise UnsupportedError("outside attention")
    ordered = np.array_equal(view.index.reshape(-1), identity_index((view.index.size,)))
    uniform = view.gain is None or bool((view.gain == view.gain.flat[0]).all())
    if axis % len(view.shape) != len(view.shape) - 1 or not ordered or not uniform:
        raise UnsupportedError("not over the keys of an attention")
    if view.shape[-1] != base.shape[-1]:
        raise UnsupportedError("not over the keys of an attention")
    if view.offset is not None and not (view.offset == view.offset.flat[0]).all():
        raise UnsupportedError("an attention mask")
    scale = 1.0 if view.gain is None else float(view.gain.flat[0])
    return whole(ProbabilitiesBase(base.shape, base, scale), view.shape)


@handles("attention")
def _attention(
    tracer: Tracer, q: Value, k: Value, v: Value, mask: Value | None = None, *, scale: float | None
) -> View:
    """Scaled dot-product attention over (..., tokens, channels)."""
    if mask is not None and not _is_open(mask):
        raise UnsupportedError("an attention mask")
    turned = k if isinstance(k, Elementwise) else tracer.plain(k)
    if isinstance(turned, Elementwise):
        turned = Elementwise(_swapped(turned.view), turned.samples, turned.labels)
    else:
        turned = _swapped(turned)
    channels = turned.shape[-2]
    scores = _matmul(tracer, q, turned).scaled(channels**-0.5 if scale is None else scale)
    return _matmul(tracer, _softmax(tracer, scores, axis=-1), v)


def _is_open(mask: Value) -> bool:
    if not isinstance(mask, np.ndarray):
        return False
    return bool(mask.all() if mask.dtype.kind == "b" else not mask.any())


@handles("layer_norm")
def _layer_norm(
    tracer: Tracer,
    x: Value,
    gain: Array | None = None,
    offset: Array | None = None,
    *,
    dimensions: int | None = None,
    axis: int = -1,
    epsilon: float,
) -> View:
    view = tracer.plain(x)
    rank = len(view.shape)
    if axis % rank != rank - 1 or dimensions not in (None, 1):
        raise UnsupportedError("not over the channels alone")
    normed = tracer.builder.norm(view, epsilon)
    if gain is not None or offset is not None:
        return normed.scaled(1.0 if gain is None else gain, offset)
    return normed


@handles("convolution")
def _convolution(
    tracer: Tracer,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    *,
    stride: Any,
    pads: Any,
    dilation: Any,
    groups: int,
) -> View:
    """Convolution whose stride is its kernel: a linear layer of patches."""
    if not isinstance(weight, np.ndarray) or not (bias is None or isinstance(bias, np.ndarray)):
        raise UnsupportedError("weights that are not constant")
    kernel = weight.shape[2:]
    stride = list(stride) * (len(kernel) if len(stride) == 1 else 1)
    if list(kernel) != stride or any(pads) or any(d != 1 for d in dilation) or groups != 1:
        raise UnsupportedError(f"kernel {list(kernel)}, stride {stride}: not a patch convolution")
    view = tracer.plain(x)
    batch, channels, *sizes = view.shape
    counts = [size // k for size, k in zip(sizes, kernel, strict=True)]
    cut = tuple(slice(0, c * k) for c, k in zip(counts, kernel, strict=True))
    split = [part for c, k in zip(counts, kernel, strict=True) for part in (c, k)]
    down, across = range(2, len(split) + 2, 2), range(3, len(split) + 2, 2)
    if weight.shape[1] != channels:
        raise UnsupportedError(f"weight of shape {weight.shape}")

    def cut_up(a: Array) -> Array:
        grid = a[(slice(None), slice(None), *cut)].reshape(batch, channels, *split)
        rows = grid.transpose(0, *down, 1, *across)
        return rows.reshape(batch * int(np.prod(counts)), -1)

    outputs = len(weight)
    rows = tracer.builder.linear(view.moved(cut_up), weight.reshape(outputs, -1).T, bias)
    turned = rows.reshaped(batch, *counts, outputs)
    return turned.moved(lambda a: np.moveaxis(a, -1, 1))
