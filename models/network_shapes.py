"""Do the layers of a float network fit together? The shape of every value, or what is wrong."""

from collections.abc import Callable
from math import isfinite
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Experts,
    Gate,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Network,
    Norm,
    Select,
)
from moesaic.models.routing import MAX_EXPERTS, MAX_TOP

Shape = tuple[int, int]
SIZE_LIMIT = 1 << 24


def _refuse(layer: Layer, field: str, allowed: str, value: object) -> InputError:
    return InputError(f"layer {layer.name!r:.80}: {field} must be {allowed}, not {value!r:.80}")


def _number(layer: Layer, field: str, low: int, high: int) -> None:
    value = getattr(layer, field)
    if type(value) is not int or not low <= value <= high:
        raise _refuse(layer, field, f"an integer in {low}..{high}", value)


def _array(layer: Layer, field: str, *shape: int) -> None:
    value: NDArray[Any] = getattr(layer, field)
    if value.shape != shape or value.dtype != np.float32:
        raise _refuse(layer, field, f"float32 of shape {shape}", f"{value.dtype} {value.shape}")
    if not np.isfinite(value).all():
        raise InputError(f"layer {layer.name!r:.80}: {field} must be finite, but is not everywhere")


def _image(layer: Image, _: dict[str, Shape]) -> Shape:
    for field in ("channels", "height", "width"):
        _number(layer, field, 1, 1 << 16)
    _number(layer, "patch", 0, min(layer.height, layer.width))
    if not layer.patch and layer.channels != 1:
        raise _refuse(layer, "channels", "1 where patch is 0", layer.channels)
    return layer.tokens, layer.values


def _linear(layer: Linear, shapes: dict[str, Shape]) -> Shape:
    tokens, inputs = shapes[layer.x]
    if layer.weight.ndim != 2 or not layer.weight.shape[1]:
        raise _refuse(layer, "weight", f"of shape ({inputs}, outputs)", layer.weight.shape)
    outputs = layer.weight.shape[1]
    _array(layer, "weight", inputs, outputs)
    _array(layer, "bias", outputs)
    return tokens, outputs


def _embed(layer: Embed, shapes: dict[str, Shape]) -> Shape:
    tokens, channels = shapes[layer.x]
    rows = max(tokens, len(layer.table) if layer.table.ndim else 0)
    _array(layer, "table", rows, channels)
    return rows, channels


def _norm(layer: Norm, shapes: dict[str, Shape]) -> Shape:
    tokens, channels = shapes[layer.x]
    _array(layer, "gain", channels)
    _array(layer, "offset", channels)
    if not 0 <= layer.epsilon <= 1:
        raise _refuse(layer, "epsilon", "at least 0 and at most 1", layer.epsilon)
    if layer.token is None:
        return tokens, channels
    _number(layer, "token", 0, tokens - 1)
    return 1, channels


def _attention(layer: Attention, shapes: dict[str, Shape]) -> Shape:
    q, k, v = (shapes[name] for name in (layer.q, layer.k, layer.v))
    if not q == k == v:
        raise _refuse(layer, "q, k and v", "of one shape", (q, k, v))
    _number(layer, "heads", 1, q[1])
    if q[1] % layer.heads:
        raise _refuse(layer, "heads", f"a divisor of {q[1]}", layer.heads)
    if not isfinite(layer.scale):
        raise _refuse(layer, "scale", "finite", layer.scale)
    return q


def _gelu(layer: Gelu, shapes: dict[str, Shape]) -> Shape:
    return shapes[layer.x]


def _add(layer: Add, shapes: dict[str, Shape]) -> Shape:
    x, residual = shapes[layer.x], shapes[layer.residual]
    if x != residual:
        raise _refuse(layer, "x", f"of the residual's shape {residual}", x)
    return x


def _select(layer: Select, shapes: dict[str, Shape]) -> Shape:
    tokens, channels = shapes[layer.x]
    _number(layer, "token", 0, tokens - 1)
    return 1, channels


def _mean_pool(layer: MeanPool, shapes: dict[str, Shape]) -> Shape:
    tokens, channels = shapes[layer.x]
    _number(layer, "tokens", 1, tokens)
    return 1, channels


def _gate(layer: Gate, shapes: dict[str, Shape]) -> Shape:
    tokens, channels = shapes[layer.x]
    experts = layer.weight.shape[1] if layer.weight.ndim == 2 else 0
    if not 2 <= experts <= MAX_EXPERTS:
        raise _refuse(layer, "experts", f"in 2..{MAX_EXPERTS}", experts)
    _array(layer, "weight", channels, experts)
    _number(layer, "top", 1, min(MAX_TOP, experts))
    if type(layer.renormalise) is not bool:
        raise _refuse(layer, "renormalise", "true or false", layer.renormalise)
    return tokens, experts


def _experts(layer: Experts, shapes: dict[str, Shape]) -> Shape:
    tokens, channels = shapes[layer.x]
    rows, experts = shapes[layer.gate]
    if rows != tokens:
        raise _refuse(layer, "gate", f"of {tokens} tokens", rows)
    hidden = layer.hidden_weight.shape[2] if layer.hidden_weight.ndim == 3 else 0
    outputs = layer.weight.shape[2] if layer.weight.ndim == 3 else 0
    if not hidden or not outputs:
        raise _refuse(layer, "weights", "of three dimensions, none of them 0", (hidden, outputs))
    _array(layer, "hidden_weight", experts, channels, hidden)
    _array(layer, "hidden_bias", experts, hidden)
    _array(layer, "weight", experts, hidden, outputs)
    _array(layer, "bias", experts, outputs)
    return tokens, outputs


_SHAPE: dict[type[Layer], Callable[[Any, dict[str, Shape]], Shape]] = {
    Image: _image,
    Linear: _linear,
    Embed: _embed,
    Norm: _norm,
    Attention: _attention,
    Gelu: _gelu,
    Add: _add,
    Select: _select,
    MeanPool: _mean_pool,
    Gate: _gate,
    Experts: _experts,
}
SOURCES = ("x", "residual", "q", "k", "v", "gate")


def sources(layer: Layer) -> tuple[str, ...]:
    """Return the names of the values that `layer` reads."""
    return tuple(getattr(layer, field) for field in SOURCES if hasattr(layer, field))


def value_shapes(network: Network) -> dict[str, Shape]:
    """Return (tokens, channels) of each layer's value, by its name.

    Raises InputError, one line that names layer, field and value, unless the first layer alone is
    an Image, names are unique, every layer reads earlier ones of fitting shapes, and all weights
    are finite float32.
    """
    if not network.layers or not isinstance(network.layers[0], Image):
        raise InputError("a network must begin with an Image layer")
    shapes: dict[str, Shape] = {}
    for place, layer in enumerate(network.layers):
        if layer.name in shapes:
            raise InputError(f"layer {layer.name!r:.80}: the name must be unique")
        if place and isinstance(layer, Image):
            raise InputError(f"layer {layer.name!r:.80}: a network must have one Image layer")
        for name in sources(layer):
            if name not in shapes:
                raise _refuse(layer, "sources", "earlier layers", name)
        shape = _SHAPE[type(layer)](layer, shapes)
        if max(shape) > SIZE_LIMIT:
            raise _refuse(layer, "shape", f"at most {SIZE_LIMIT} either way", shape)
        shapes[layer.name] = shape
    return shapes
