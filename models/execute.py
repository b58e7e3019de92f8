"""The meaning of the integer network: every tensor of a graph for one input, bit for bit.

The RTL must equal what this module computes. All sums are exact; every rounding is
:func:`moesaic.models.requant.requant` or inside softmax, LayerNorm and GELU, whose modules say how.
"""

from dataclasses import dataclass

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.gelu_forms import GELU_FORMS
from moesaic.models.graph import (
    Constant,
    Graph,
    Input,
    Ints,
    LayerNorm,
    Mix,
    Node,
    Pool,
    Product,
    Route,
    Scale,
    Scores,
    Softmax,
)
from moesaic.models.layernorm import layernorm
from moesaic.models.matmul import matmul
from moesaic.models.requant import limits, requant, saturate
from moesaic.models.routing import GATE_SCORE_BITS, route
from moesaic.models.softmax import softmax

MULTIPLIER, SHIFT = ".multiplier", ".shift"  # suffixes of a softmax's row statistics


def execute(graph: Graph, x: Ints, *, lanes: int) -> dict[str, Ints]:
    """Return each node's tensor by name for the input matrix `x` (tokens, channels).

    `lanes` is the vector unit's: softmax sums in that order. Softmax nodes give their row
    statistics too, (heads, tokens) each, under their name and ``.multiplier`` or ``.shift``.
    With `x` (images, tokens, channels) all tensors but constants have images in front.
    """
    run = _Run(graph=graph, lanes=lanes, values={})
    for node in graph.nodes:
        run.values[node.name] = run.tensor(node, x)
    return run.values


@dataclass(frozen=True, slots=True, kw_only=True)
class _Run:
    """One execution: the graph and the tensors so far."""

    graph: Graph
    lanes: int
    values: dict[str, Ints]

    def tensor(self, node: Node, x: Ints) -> Ints:
        """Return the tensor of one node."""
        match node:
            case Input():
                return self.input(node, x)
            case Constant():
                return node.value
            case Product():
                return self.product(node)
            case Route():
                return self.route(node)
            case Scores():
                return self.scores(node)
            case Softmax():
                return self.softmax(node)
            case Mix():
                return self.mix(node)
            case LayerNorm():
                return self.layernorm(node)
            case Scale():
                rows = self.rows(node)
                return requant(rows, node.multiplier, node.shift, self.graph.data_bits)
            case Pool():
                total = self.values[node.x][..., : node.pooled, :].sum(axis=-2, keepdims=True)
                return requant(total, node.multiplier, node.shift, self.graph.data_bits)
        raise TypeError(f"{node.name}: no rule for {type(node).__name__}")

    def rows(self, node: LayerNorm | Scale) -> Ints:
        """Return the rows that a node reads."""
        return self.values[node.x][..., node.first_token : node.first_token + node.tokens, :]

    def input(self, node: Input, x: Ints) -> Ints:
        """Return the input matrix after a check."""
        if x.shape[-2:] != (node.tokens, node.channels) or x.ndim > 3 or not x.size:
            raise InputError(
                f"{node.name} must be of shape {(node.tokens, node.channels)}, not {x.shape}"
            )
        low, high = limits(self.graph.data_bits)
        if x.dtype.kind not in "iu" or x.min() < low or x.max() > high:
            raise InputError(f"{node.name} must hold integers in {low}..{high}")
        return x.astype(np.int64)

    def product(self, node: Product) -> Ints:
        """Multiply by the weights; then the epilogue."""
        data, wide = self.graph.data_bits, self.graph.wide_bits
        if node.route is not None:
            return self.routed(node, node.route)
        acc = matmul(self.values[node.x], node.weight, data_bits=data) + node.bias
        if node.epilogue == "narrow":
            return requant(acc, node.multiplier, node.shift, data)
        y = requant(acc, node.multiplier, node.shift, wide)
        if node.epilogue == "wide":
            return y
        if node.epilogue == "gelu":
            return self.gelu(node, y)
        residual = self.values[str(node.residual)]
        out = np.broadcast_to(residual, (*y.shape[:-2], *residual.shape[-2:])).copy()
        head = out[..., : y.shape[-2], :]
        head[...] = saturate(y + head, wide)
        return out

    def gelu(self, node: Product, y: Ints) -> Ints:
        """Return GELU of wide values, requantised."""
        curve = GELU_FORMS[self.graph.gelu](y, self.graph.wide_bits)
        return requant(curve, node.post_multiplier, node.post_shift, self.graph.data_bits)

    def route(self, node: Route) -> Ints:
        """Return the table of gate scores."""
        logits = self.values[node.x]
        routing = route(
            logits.reshape(-1, logits.shape[-1]),
            top=node.top,
            lanes=self.lanes,
            data_bits=self.graph.data_bits,
            renormalise=node.renormalise,
        )
        return routing.table().reshape(logits.shape)

    def routed(self, node: Product, table: str) -> Ints:
        """Multiply the tokens of one expert; the others' rows are zero, or the residual's."""
        data, wide = self.graph.data_bits, self.graph.wide_bits
        score = self.values[table][..., node.expert]
        here = score >= 0
        acc = matmul(self.values[node.x][here], node.weight, data_bits=data) + node.bias
        y = requant(acc, node.multiplier, node.shift, wide)
        if node.epilogue == "gelu":
            out = np.zeros((*score.shape, node.channels), dtype=np.int64)
            out[here] = self.gelu(node, y)
            return out
        out = np.broadcast_to(self.values[str(node.residual)], (*score.shape, node.channels)).copy()
        weighed = requant(y, score[here][:, np.newaxis], GATE_SCORE_BITS, wide)
        out[here] = saturate(weighed + out[here], wide)
        return out

    def scores(self, node: Scores) -> Ints:
        """Multiply queries and keys of each head: (heads, tokens, tokens)."""
        q, k = (self.heads(name, node.heads) for name in (node.q, node.k))
        acc = matmul(q, k.swapaxes(-1, -2), data_bits=self.graph.data_bits)
        return requant(acc, node.multiplier, node.shift, self.graph.wide_bits)

    def softmax(self, node: Softmax) -> Ints:
        """Return unnormalised probabilities and keep the row statistics."""
        scores = self.values[node.x]
        probs, multiplier, shift = softmax(
            scores,
            valid=scores.shape[-1],
            multiplier=node.multiplier,
            shift=node.shift,
            lanes=self.lanes,
            data_bits=self.graph.data_bits,
            passes=node.softmax_passes,
        )
        self.values[node.name + MULTIPLIER] = multiplier
        self.values[node.name + SHIFT] = shift
        return probs

    def mix(self, node: Mix) -> Ints:
        """Weigh the values of each head: (tokens, heads * head_channels)."""
        p, v = self.values[node.p], self.heads(node.v, node.heads)
        acc = matmul(p, v, data_bits=self.graph.data_bits)
        multiplier, shift = (self.values[node.p + s][..., None] for s in (MULTIPLIER, SHIFT))
        out = requant(acc, multiplier, shift, self.graph.data_bits)
        out = out.swapaxes(-2, -3)
        return out.reshape(*out.shape[:-2], node.channels)

    def heads(self, name: str, heads: int) -> Ints:
        """Return (heads, tokens, head_channels) of a matrix with its heads side by side."""
        x = self.values[name]
        return x.reshape(*x.shape[:-1], heads, -1).swapaxes(-2, -3)

    def layernorm(self, node: LayerNorm) -> Ints:
        """Normalise rows of a wide tensor."""
        data, wide = self.graph.data_bits, self.graph.wide_bits
        return layernorm(
            self.rows(node),
            node.gain,
            node.offset,
            shift=node.shift,
            epsilon=node.epsilon,
            out_bits=wide if node.to_wide else data,
            data_bits=data,
        )
