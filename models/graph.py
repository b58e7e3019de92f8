"""The integer network: a small typed graph whose meaning is fixed by :mod:`moesaic.models.execute`.

Every tensor is a matrix of tokens by channels (attention's are heads by tokens by tokens) of
integers ``v`` that stand for ``v * scale``. *Narrow* tensors have ``data_bits`` (8 or 16) signed
bits, *wide* ones ``wide_bits`` (16 or 24). Nodes are in execution order and name the tensors that
they read; each makes one tensor that bears its own name.
"""

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM

Ints = NDArray[np.int64]

SCORE_FRACTION_BITS = 8  # scores are in units of log2 with this many fraction bits


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """What every node has.

    `scale` is the value of one unit of its output; `tokens`, `channels` its shape; `source` the
    float layer it came from (for error tables).
    """

    name: str
    tokens: int
    channels: int
    scale: float
    source: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Input(Node):
    """Narrow input of the network: one row per patch (or token), `channels` values each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Constant(Node):
    """A wide constant of (tokens, channels): positions and class token, where the stream begins."""

    value: Ints


@dataclass(frozen=True, slots=True, kw_only=True)
class Product(Node):
    """``x @ weight + bias``, requantised per output channel, with an epilogue.

    ``acc = x @ weight + bias``; ``y = requant(acc, multiplier, shift, wide_bits)``; then by
    `epilogue`: ``narrow`` requantises to data_bits instead; ``wide`` keeps y; ``add`` gives
    ``saturate(y + residual, wide_bits)`` where rows of `x` meet the first rows of `residual` and
    further rows of it pass unchanged; ``gelu`` gives ``requant(gelu(y), post_multiplier,
    post_shift, data_bits)`` with y in units of 2**-gelu_fraction_bits; ``weigh`` gives
    ``saturate(requant(y, score, GATE_SCORE_BITS, wide_bits) + residual, wide_bits)``.

    With `route`, a Route, only the tokens count that go to its expert number `expert`; rows of
    others are zero, those of ``weigh`` are the residual's. ``weigh`` takes its scores from there.
    """

    x: str
    weight: Ints  # (channels of x, channels); zero where pruned
    bias: Ints  # (channels,)
    multiplier: Ints  # (channels,)
    shift: Ints  # (channels,)
    nm: NM | None = None
    epilogue: str = "narrow"
    residual: str | None = None
    post_multiplier: int = 0
    post_shift: int = 0
    route: str | None = None
    expert: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Route(Node):
    """Scores of the experts that each token goes to, and -1 elsewhere; (tokens, experts).

    `x` holds logits in log2 units with SCORE_FRACTION_BITS; :mod:`moesaic.models.routing`.
    """

    x: str
    top: int
    renormalise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores(Node):
    """``q @ k.T`` per head, wide, in log2 units with SCORE_FRACTION_BITS; shape (heads, T, T).

    The multiplier holds ``scale_q * scale_k * attention_scale * log2(e) * 2**8``.
    """

    q: str
    k: str
    heads: int
    head_channels: int
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Softmax(Node):
    """Unnormalised narrow probabilities and, per row, what normalises them; (heads, T, T).

    `multiplier`, `shift` hold ``scale_v / scale_out`` of the Mix that follows, folded into the
    row statistics (a multiplier and a shift per head and row). `softmax_passes` are the passes over
    the scores that its statistics take, as :mod:`moesaic.models.softmax` has them.
    """

    x: str
    heads: int
    multiplier: int
    shift: int
    softmax_passes: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Mix(Node):
    """``p @ v`` per head, requantised by the row statistics of its softmax; heads side by side."""

    p: str
    v: str
    heads: int
    head_channels: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNorm(Node):
    """Normalise each token of a wide tensor over its channels, then gain and offset.

    ``to_wide`` says whether the result is wide (post-norm residual stream) or narrow.
    `first_token` and `tokens` choose the rows of `x` (the class token alone at the end).
    """

    x: str
    first_token: int = 0
    gain: Ints  # (channels,) int16
    offset: Ints  # (channels,) int32
    shift: int
    epsilon: int
    to_wide: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale(Node):
    """Requantise a wide tensor to a narrow one, per tensor."""

    x: str
    first_token: int = 0
    multiplier: int
    shift: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pool(Node):
    """Sum the first `pooled` tokens of a narrow tensor; requantised to narrow; one token out."""

    x: str
    pooled: int
    multiplier: int
    shift: int


def sources(node: Node) -> tuple[str, ...]:
    """Return the names of the tensors that a node reads."""
    match node:
        case Product():
            return tuple(name for name in (node.x, node.residual, node.route) if name)
        case Scores():
            return (node.q, node.k)
        case Mix():
            return (node.p, node.v)
        case Softmax() | LayerNorm() | Scale() | Pool() | Route():
            return (node.x,)
    return ()


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A whole integer network; the last node is the result (wide).

    `gelu` is the form that GELU has, a name of :mod:`moesaic.models.gelu_forms`. What follows from
    the nodes is worked out once, when it is first asked for.
    """

    name: str
    data_bits: int
    nodes: tuple[Node, ...]
    gelu: str = "table"
    macs: int = 0
    labels: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Node:
        """Return the node called `name`."""
        return self._by_name[name]

    def users(self, name: str) -> tuple[Node, ...]:
        """Return the nodes that read a tensor, in order."""
        return self._users.get(name, ())

    @cached_property
    def largest_sums(self) -> dict[str, int]:
        """The largest magnitude that a sum of each product can have, by the product's name."""
        half = 1 << (self.data_bits - 1)
        return {
            node.name: int((np.abs(node.weight).sum(axis=0) * half + np.abs(node.bias)).max())
            for node in self.nodes
            if isinstance(node, Product)
        }

    @cached_property
    def _by_name(self) -> dict[str, Node]:
        return {node.name: node for node in reversed(self.nodes)}

    @cached_property
    def _users(self) -> dict[str, tuple[Node, ...]]:
        users: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in sources(node):
                users.setdefault(name, []).append(node)
        return {name: tuple(nodes) for name, nodes in users.items()}

    @property
    def wide_bits(self) -> int:
        """Significant bits of wide tensors."""
        return 16 if self.data_bits == 8 else 24

    @property
    def gelu_fraction_bits(self) -> int:
        """Fraction bits of GELU's input: five integer bits beside the sign."""
        return self.wide_bits - 6
