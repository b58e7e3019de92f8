"""The float network's meaning in numpy: calibration and error tables run it, torch checks it."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import erf

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

Values = NDArray[np.floating[Any]]


def cut_patches(images: Values, patch: int) -> Values:
    """Cut (images, channels, height, width) into rows (images, tokens, channels*patch*patch).

    Rows hold channel, patch row, patch column; pixels past the last whole patch are left out.
    """
    count, channels, height, width = images.shape
    down, right = height // patch, width // patch
    grid = images[:, :, : down * patch, : right * patch]
    grid = grid.reshape(count, channels, down, patch, right, patch)
    return grid.transpose(0, 2, 4, 1, 3, 5).reshape(count, down * right, channels * patch * patch)


def gelu(x: Values, *, tanh: bool = False) -> Values:
    """GELU by erf, or its tanh form (Hendrycks and Gimpel 2016, section 2)."""
    if tanh:
        inner = np.sqrt(2 / np.pi) * (x + 0.044715 * x * x * x)
        return (0.5 * x * (1 + np.tanh(inner))).astype(x.dtype)
    return (0.5 * x * (1 + erf(x * np.sqrt(0.5)))).astype(x.dtype)


def softmax(x: Values) -> Values:
    """Softmax over the last axis."""
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return np.asarray(e / e.sum(axis=-1, keepdims=True))


def attention(q: Values, k: Values, v: Values, heads: int, scale: float) -> Values:
    """Softmax attention of (images, tokens, heads * head_channels), heads side by side."""
    count, tokens, _ = q.shape

    def split(x: Values) -> Values:
        return x.reshape(count, tokens, heads, -1).transpose(0, 2, 1, 3)

    scores = split(q) @ split(k).swapaxes(-1, -2) * q.dtype.type(scale)
    return (softmax(scores) @ split(v)).transpose(0, 2, 1, 3).reshape(count, tokens, -1)


def normalise(x: Values, epsilon: float) -> Values:
    """Bring each token of `x` to mean 0 and variance 1 (Ba et al. 2016, equation 3)."""
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + x.dtype.type(epsilon)))


def _image(layer: Image, _: dict[str, Values], images: Values) -> Values:
    return cut_patches(images, layer.patch) if layer.patch else images


def _linear(layer: Linear, values: dict[str, Values], images: Values) -> Values:
    x = values[layer.x]
    return x @ layer.weight.astype(images.dtype) + layer.bias.astype(images.dtype)


def _embed(layer: Embed, values: dict[str, Values], images: Values) -> Values:
    x = values[layer.x]
    table = layer.table.astype(images.dtype)
    value = np.repeat(table[None], len(x), axis=0)
    value[:, : x.shape[1]] += x
    return value


def _norm(layer: Norm, values: dict[str, Values], images: Values) -> Values:
    x = values[layer.x]
    if layer.token is not None:
        x = x[:, layer.token : layer.token + 1]
    gain, offset = layer.gain.astype(images.dtype), layer.offset.astype(images.dtype)
    return normalise(x, layer.epsilon) * gain + offset


def _attention(layer: Attention, values: dict[str, Values], _: Values) -> Values:
    q, k, v = values[layer.q], values[layer.k], values[layer.v]
    return attention(q, k, v, layer.heads, layer.scale)


def _gelu(layer: Gelu, values: dict[str, Values], _: Values) -> Values:
    return gelu(values[layer.x], tanh=layer.tanh)


def _add(layer: Add, values: dict[str, Values], _: Values) -> Values:
    return np.asarray(values[layer.residual] + values[layer.x])


def _select(layer: Select, values: dict[str, Values], _: Values) -> Values:
    return values[layer.x][:, layer.token : layer.token + 1]


def _mean_pool(layer: MeanPool, values: dict[str, Values], _: Values) -> Values:
    return values[layer.x][:, : layer.tokens].mean(axis=1, keepdims=True)


def _gate(layer: Gate, values: dict[str, Values], images: Values) -> Values:
    logits = values[layer.x] @ layer.weight.astype(images.dtype)
    order = np.argsort(-logits, axis=-1, kind="stable")[..., : layer.top]
    chosen = np.zeros(logits.shape, dtype=bool)
    np.put_along_axis(chosen, order, values=True, axis=-1)
    if layer.renormalise:
        return np.asarray(softmax(np.where(chosen, logits, -np.inf)), dtype=logits.dtype)
    return np.asarray(np.where(chosen, softmax(logits), 0), dtype=logits.dtype)


def _experts(layer: Experts, values: dict[str, Values], images: Values) -> Values:
    x, gate = values[layer.x], values[layer.gate]
    out = np.zeros((*x.shape[:2], layer.bias.shape[1]), dtype=images.dtype)
    for e in range(len(layer.bias)):
        here = gate[..., e] > 0
        hidden = x[here] @ layer.hidden_weight[e].astype(images.dtype)
        hidden = gelu(hidden + layer.hidden_bias[e].astype(images.dtype))
        y = hidden @ layer.weight[e].astype(images.dtype) + layer.bias[e].astype(images.dtype)
        out[here] += gate[..., e][here][:, np.newaxis] * y
    return out


_RUN: dict[type[Layer], Callable[[Any, dict[str, Values], Values], Values]] = {
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


def run_float(network: Network, images: Values) -> dict[str, Values]:
    """Run a batch and return the value of each layer, (images, tokens, channels), by its name.

    `images` is (images, channels, height, width), or (images, tokens, channels) where the network
    takes tokens; float32 is computed in float32, anything else in float64.
    """
    dtype = np.float32 if images.dtype == np.float32 else np.float64
    images = np.asarray(images, dtype=dtype)
    values: dict[str, Values] = {}
    for layer in network.layers:
        values[layer.name] = _RUN[type(layer)](layer, values, images)
    return values
