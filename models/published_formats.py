"""A float network in Edge-MoE's number formats: every layer's value by name, bit for bit.

Features have 32 bits, weights 16 (:mod:`moesaic.models.published_fixed`); the order of operations
is that of the released source (github.com/sharc-lab/Edge-MoE, arXiv 2305.18691). Where a network
has what the publication has not, such as a class token that is the last one, a mean or a head, the
same rules are applied. Images are features: the publication's pixels, k/256, are exact in them.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from math import gcd
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError
from moesaic.models.float_run import cut_patches
from moesaic.models.input_matrix import check_images
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
from moesaic.models.published_fixed import (
    FEATURE,
    FRACTION_BITS,
    ONE,
    Fixed,
    Ints,
    divide,
    exponential,
    gelu,
    matmul,
    multiply,
    root,
    softmax_statistics,
    wrap,
    wrapped,
)
from moesaic.models.published_parameters import parameter_formats

SLOTS = 4  # queries at a time; the one in slot j meets key j first
SCORE_BLOCK = 8  # channels whose partial sum is scaled at once


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedRun:
    """Values in units of 2**-22, (images, tokens, channels), by the name of their layer.

    `wraps` counts, by layer, results out of range, `saturations` parameters (and pixels) out of
    range; layers without any are absent.
    """

    codes: dict[str, Ints]
    wraps: Counter[str]
    saturations: Counter[str]

    def value(self, name: str) -> NDArray[np.float64]:
        """Return a layer's value as real numbers."""
        return self.codes[name] / ONE


def run_published(network: Network, images: NDArray[Any], *, nearest: bool = False) -> PublishedRun:
    """Run a batch of `images`, as `run_float` does.

    Parameters are rounded down to their formats, as the released testbench does, or to nearest with
    `nearest`, and saturate there; results are rounded down and wrap. InputError for images that do
    not fit, and for a gate that renormalises, which the publication has not.
    """
    run = _Run(network=network, images=check_images(network, images), nearest=nearest)
    for layer in network.layers:
        run.codes[layer.name] = _RULES[type(layer)](run, layer)
    # a plus in front leaves out zeros
    return PublishedRun(codes=run.codes, wraps=+run.wraps, saturations=+run.saturations)


@dataclass(slots=True, kw_only=True)
class _Run:
    """One execution: what is known so far."""

    network: Network
    images: NDArray[np.float32]
    nearest: bool
    codes: dict[str, Ints] = field(default_factory=dict)
    wraps: Counter[str] = field(default_factory=Counter)
    saturations: Counter[str] = field(default_factory=Counter)

    def store(self, layer: Layer, exact: Ints) -> Ints:
        """Return exact results as features, and count those that wrap."""
        self.wraps[layer.name] += wrapped(exact)
        return wrap(exact)

    def encode(self, layer: Layer, values: NDArray[Any], fixed: Fixed) -> Ints:
        """Return parameters in a format, and count those that saturate."""
        codes, outside = fixed.encode(values, nearest=self.nearest)
        self.saturations[layer.name] += outside
        return codes

    def parameter(self, layer: Layer, name: str) -> tuple[Ints, int]:
        """Return a parameter in its format, and the bits behind its point."""
        fixed = parameter_formats(self.network, layer)[name]
        return self.encode(layer, getattr(layer, name), fixed), fixed.fraction_bits

    def offset(self, layer: Layer, name: str) -> Ints:
        """Return a parameter that is to be added, in units of features."""
        codes, fraction_bits = self.parameter(layer, name)
        return codes << (FRACTION_BITS - fraction_bits)

    def image(self, layer: Image) -> Ints:
        """Cut the image into patches."""
        rows = cut_patches(self.images, layer.patch) if layer.patch else self.images
        return self.encode(layer, rows, FEATURE)

    def linear(self, layer: Linear) -> Ints:
        """Begin with the bias, add each product rounded down."""
        weight, fraction_bits = self.parameter(layer, "weight")
        bias = self.offset(layer, "bias")
        return self.store(layer, matmul(self.codes[layer.x], weight, fraction_bits) + bias)

    def embed(self, layer: Embed) -> Ints:
        """Add positions, which have the format of features."""
        x = self.codes[layer.x]
        table = self.encode(layer, layer.table, FEATURE)
        value = np.repeat(table[np.newaxis], len(x), axis=0)
        value[:, : x.shape[1]] += x
        return self.store(layer, value)

    def norm(self, layer: Norm) -> Ints:
        """Normalise by mean and mean square of one pass; their difference is the variance."""
        x = self.codes[layer.x]
        if layer.token is not None:
            x = x[:, layer.token : layer.token + 1]
        part = multiply(x, ONE // x.shape[-1])
        mean = self.store(layer, part.sum(axis=-1, keepdims=True))
        mean_square = self.store(layer, multiply(x, part).sum(axis=-1, keepdims=True))
        epsilon = int(layer.epsilon * ONE)
        variance = self.store(layer, mean_square - multiply(mean, mean) + epsilon)
        self.wraps[layer.name] += int((variance <= 0).sum())  # no root; the smallest one instead
        inverse = self.store(layer, divide(ONE, root(np.maximum(variance, 1))))
        y = self.store(layer, multiply(self.store(layer, x - mean), inverse))
        y = self.store(layer, multiply(y, *self.parameter(layer, "gain")))
        return self.store(layer, y + self.offset(layer, "offset"))

    def attention(self, layer: Attention) -> Ints:
        """Score, gather statistics in one pass, then weigh the values."""

        def split(name: str) -> Ints:
            x = self.codes[name]
            return x.reshape(*x.shape[:2], layer.heads, -1).swapaxes(1, 2)

        q, k, v = split(layer.q), split(layer.k), split(layer.v)
        scale = self.encode(layer, np.asarray(layer.scale), FEATURE)
        step = gcd(SCORE_BLOCK, q.shape[-1])
        scores = np.zeros((*q.shape[:-1], k.shape[-2]), dtype=np.int64)
        for first in range(0, q.shape[-1], step):
            block = slice(first, first + step)
            partial = self.store(layer, matmul(q[..., block], k[..., block].swapaxes(-1, -2)))
            scores += multiply(partial, scale)
        scores = self.store(layer, scores)
        starts = np.arange(scores.shape[-2]) % SLOTS
        total, bias, wraps = softmax_statistics(scores, starts)
        self.wraps[layer.name] += wraps
        power = exponential(self.store(layer, scores - bias[..., np.newaxis]))
        probability = multiply(power, divide(ONE, total[..., np.newaxis]))
        mixed = self.store(layer, matmul(probability, v)).swapaxes(1, 2)
        return mixed.reshape(*mixed.shape[:2], -1)

    def gelu(self, layer: Gelu) -> Ints:
        """Look up, whichever form of GELU the network has."""
        return gelu(self.codes[layer.x])

    def add(self, layer: Add) -> Ints:
        """Add the branch to the stream."""
        return self.store(layer, self.codes[layer.residual] + self.codes[layer.x])

    def select(self, layer: Select) -> Ints:
        """Take one token."""
        return self.codes[layer.x][:, layer.token : layer.token + 1]

    def mean_pool(self, layer: MeanPool) -> Ints:
        """Average like a norm does: each term is divided."""
        rows = self.codes[layer.x][:, : layer.tokens]
        part = multiply(rows, ONE // layer.tokens)
        return self.store(layer, part.sum(axis=1, keepdims=True))

    def gate(self, layer: Gate) -> Ints:
        """Softmax over all experts in one pass; then the largest logits, of equals the first."""
        if layer.renormalise:
            raise InputError(f"{layer.name}: renormalised gates have no published format")
        logits = matmul(self.codes[layer.x], *self.parameter(layer, "weight"))
        logits = self.store(layer, logits)
        starts = np.zeros(logits.shape[-2], dtype=np.int64)
        total, bias, wraps = softmax_statistics(logits, starts)
        self.wraps[layer.name] += wraps
        power = exponential(self.store(layer, logits - bias[..., np.newaxis]))
        order = np.argsort(-logits, axis=-1, kind="stable")[..., : layer.top]
        chosen = np.zeros(logits.shape, dtype=bool)
        np.put_along_axis(chosen, order, values=True, axis=-1)
        return np.where(chosen, divide(power, total[..., np.newaxis]), 0)

    def experts(self, layer: Experts) -> Ints:
        """Expert by expert: the weighed result is rounded down and added to the sum."""
        x, scores = self.codes[layer.x], self.codes[layer.gate]
        hidden_weight, hidden_fraction_bits = self.parameter(layer, "hidden_weight")
        weight, fraction_bits = self.parameter(layer, "weight")
        hidden_bias, bias = self.offset(layer, "hidden_bias"), self.offset(layer, "bias")
        out = np.zeros((*x.shape[:2], bias.shape[1]), dtype=np.int64)
        for e in range(len(bias)):
            here = scores[..., e] > 0
            hidden = matmul(x[here], hidden_weight[e], hidden_fraction_bits) + hidden_bias[e]
            hidden = gelu(self.store(layer, hidden))
            y = self.store(layer, matmul(hidden, weight[e], fraction_bits) + bias[e])
            weighed = multiply(y, scores[..., e][here][:, np.newaxis])
            out[here] = self.store(layer, out[here] + weighed)
        return out


_RULES: dict[type[Layer], Callable[[_Run, Any], Ints]] = {
    Image: _Run.image,
    Linear: _Run.linear,
    Embed: _Run.embed,
    Norm: _Run.norm,
    Attention: _Run.attention,
    Gelu: _Run.gelu,
    Add: _Run.add,
    Select: _Run.select,
    MeanPool: _Run.mean_pool,
    Gate: _Run.gate,
    Experts: _Run.experts,
}
