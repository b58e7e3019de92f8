"""Structural validation of integer networks: names, references, shapes and widths of constants."""

from math import isfinite
from typing import NoReturn

import numpy as np
from numpy.typing import ArrayLike

from moesaic.models.errors import InputError
from moesaic.models.gelu_forms import check_gelu
from moesaic.models.graph import (
    Constant,
    Graph,
    Input,
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
from moesaic.models.layernorm import MAX_VALID as NORM_CHANNELS
from moesaic.models.requant import BIAS_BITS, MULTIPLIER_BITS, limits
from moesaic.models.routing import MAX_EXPERTS, MAX_TOP
from moesaic.models.softmax import MAX_VALID as SOFTMAX_TOKENS
from moesaic.models.softmax import PASSES
from moesaic.models.sparse import check_nm

EPILOGUES = ("narrow", "wide", "add", "gelu", "weigh")
ROUTED = ("gelu", "weigh")
LARGEST_SHIFT = 62


def is_wide(node: Node) -> bool:
    """Tell whether a node's tensor is wide; scores are, probabilities are not."""
    match node:
        case Product():
            return node.epilogue in ("wide", "add", "weigh")
        case LayerNorm():
            return node.to_wide
        case Constant() | Scores():
            return True
    return False


def check_graph(graph: Graph) -> None:
    """Raise InputError, one line that names the node, unless `graph` can be executed."""
    if graph.data_bits not in (8, 16):
        raise InputError(f"data_bits must be 8 or 16, not {graph.data_bits!r}")
    check_gelu(graph.gelu)
    if not graph.nodes:
        raise InputError(f"{graph.name}: holds no nodes")
    if sum(isinstance(node, Input) for node in graph.nodes) != 1:
        raise InputError(f"{graph.name}: must have exactly one Input")
    seen: dict[str, Node] = {}
    for node in graph.nodes:
        _Check(graph=graph, node=node, seen=seen).run()
        seen[node.name] = node
    last = graph.nodes[-1]
    if not is_wide(last) or isinstance(last, Scores):
        raise InputError(f"{last.name}: the last node must be wide")


class _Check:
    """Checks of one node; `seen` are the nodes before it."""

    def __init__(self, *, graph: Graph, node: Node, seen: dict[str, Node]) -> None:
        self.graph, self.node, self.seen = graph, node, seen

    def fail(self, text: str) -> NoReturn:
        """Raise with the node's name in front."""
        raise InputError(f"{self.node.name}: {text}")

    def run(self) -> None:
        """Check what every node has, then what its type has."""
        node = self.node
        if not node.name or node.name in self.seen:
            self.fail("names must be unique and not empty")
        if node.tokens < 1 or node.channels < 1:
            self.fail(f"shape must be positive, not {(node.tokens, node.channels)}")
        if not (isfinite(node.scale) and node.scale > 0):
            self.fail(f"scale must be positive and finite, not {node.scale}")
        match node:
            case Input():
                pass
            case Constant():
                self.constant(node)
            case Product():
                self.product(node)
            case Route():
                self.route(node)
            case Scores():
                self.scores(node)
            case Softmax():
                self.softmax(node)
            case Mix():
                self.mix(node)
            case LayerNorm():
                self.layernorm(node)
            case Scale():
                self.scale(node)
            case Pool():
                self.pool(node)
            case _:
                self.fail(f"{type(node).__name__} is not a node that can be executed")

    def known(self, name: str | None) -> Node:
        """Return the earlier node called `name`."""
        if name is None or name not in self.seen:
            self.fail(f"reads {name!r}, which no earlier node makes")
        return self.seen[name]

    def operand(self, name: str | None, *, wide: bool) -> Node:
        """Return the earlier node called `name`, a matrix of tokens by channels."""
        node = self.known(name)
        if isinstance(node, Scores | Softmax | Route):
            self.fail(f"cannot read {type(node).__name__} {name}")
        if is_wide(node) != wide:
            self.fail(f"{name} must be {'wide' if wide else 'narrow'}")
        return node

    def shape(self, tokens: int, channels: int) -> None:
        """Compare the node's shape."""
        node = self.node
        if (node.tokens, node.channels) != (tokens, channels):
            self.fail(f"shape must be {(tokens, channels)}, not {(node.tokens, node.channels)}")

    def array(self, field: str, shape: tuple[int, ...], low: int, high: int) -> None:
        """Check an integer array of the node."""
        value = getattr(self.node, field)
        if not isinstance(value, np.ndarray) or value.dtype.kind not in "iu":
            self.fail(f"{field} must be an array of integers")
        if value.shape != shape:
            self.fail(f"{field} must have shape {shape}, not {value.shape}")
        self.within(field, value, low, high)

    def within(self, field: str, value: ArrayLike, low: int, high: int) -> None:
        """Check a range."""
        if np.min(value) < low or np.max(value) > high:
            self.fail(f"{field} must be in {low}..{high}, not {np.min(value)}..{np.max(value)}")

    def ratio(self, multiplier: str = "multiplier", shift: str = "shift") -> None:
        """Check a scalar multiplier and shift."""
        self.within(multiplier, getattr(self.node, multiplier), 0, (1 << MULTIPLIER_BITS) - 1)
        self.within(shift, getattr(self.node, shift), 0, LARGEST_SHIFT)

    def constant(self, node: Constant) -> None:
        """Check that the value fits."""
        self.array("value", (node.tokens, node.channels), *limits(self.graph.wide_bits))

    def product(self, node: Product) -> None:
        """Check that weights, parameters and epilogue fit."""
        x = self.operand(node.x, wide=False)
        if node.epilogue not in EPILOGUES:
            self.fail(f"epilogue must be one of {', '.join(EPILOGUES)}, not {node.epilogue!r}")
        columns = (node.channels,)
        self.array("weight", (x.channels, node.channels), *limits(self.graph.data_bits))
        self.array("bias", columns, *limits(BIAS_BITS))
        self.array("multiplier", columns, 0, (1 << MULTIPLIER_BITS) - 1)
        self.array("shift", columns, 0, LARGEST_SHIFT)
        if node.nm is not None:
            try:
                check_nm(node.weight, node.nm)
            except InputError as error:
                self.fail(str(error))
        if node.epilogue == "gelu":
            self.ratio("post_multiplier", "post_shift")
        if node.route is not None:
            self.routed(node, node.route)
        elif node.epilogue == "weigh":
            self.fail("epilogue weigh must have a route")
        if node.epilogue not in ("add", "weigh"):
            self.shape(x.tokens, node.channels)
            return
        residual = self.operand(node.residual, wide=True)
        self.shape(residual.tokens, residual.channels)
        if x.tokens > node.tokens:
            self.fail(f"{node.x} has more tokens than {node.residual}")
        if residual.scale != node.scale:
            self.fail(f"scale must be that of {node.residual}, {residual.scale}, not {node.scale}")

    def routed(self, node: Product, name: str) -> None:
        """Check that an expert's product has the route's tokens and an epilogue for it."""
        route, x = self.known(name), self.known(node.x)
        if not isinstance(route, Route):
            self.fail(f"route must be a Route, not {type(route).__name__} {name}")
        if node.epilogue not in ROUTED or node.nm is not None:
            self.fail(f"an expert must be dense, with epilogue {' or '.join(ROUTED)}")
        self.within("expert", node.expert, 0, route.channels - 1)
        if x.tokens != route.tokens:
            self.fail(f"{node.x} must have {route.tokens} tokens as {name}, not {x.tokens}")

    def route(self, node: Route) -> None:
        """Check that there are experts to choose from."""
        x = self.operand(node.x, wide=True)
        self.shape(x.tokens, x.channels)
        self.within("experts", node.channels, 2, MAX_EXPERTS)
        self.within("top", node.top, 1, min(MAX_TOP, node.channels))

    def scores(self, node: Scores) -> None:
        """Check that queries and keys agree."""
        q, k = (self.operand(name, wide=False) for name in (node.q, node.k))
        self.shape(q.tokens, k.tokens)
        if node.heads < 1 or not q.channels == k.channels == node.heads * node.head_channels:
            self.fail(f"heads * head_channels must be {q.channels} and {k.channels}")
        self.ratio()

    def softmax(self, node: Softmax) -> None:
        """Check that it reads scores."""
        x = self.known(node.x)
        if not isinstance(x, Scores):
            self.fail(f"must read Scores, not {type(x).__name__} {node.x}")
        self.shape(x.tokens, x.channels)
        if node.heads != x.heads:
            self.fail(f"heads must be {x.heads}, not {node.heads}")
        self.within("tokens", node.channels, 1, SOFTMAX_TOKENS)
        if node.softmax_passes not in PASSES:
            self.fail(f"softmax_passes must be 1, 2 or 3, not {node.softmax_passes!r}")
        self.ratio()

    def mix(self, node: Mix) -> None:
        """Check that probabilities and values agree."""
        p, v = self.known(node.p), self.operand(node.v, wide=False)
        if not isinstance(p, Softmax):
            self.fail(f"must read Softmax, not {type(p).__name__} {node.p}")
        self.shape(p.tokens, v.channels)
        if p.channels != v.tokens or node.heads != p.heads:
            self.fail(f"{node.p} and {node.v} must agree in tokens and heads")
        if v.channels != node.heads * node.head_channels:
            self.fail(f"heads * head_channels must be {v.channels}")

    def rows(self, name: str, first: int) -> None:
        """Check that the node's rows lie within a wide operand of as many channels."""
        x = self.operand(name, wide=True)
        self.shape(self.node.tokens, x.channels)
        if first < 0 or first + self.node.tokens > x.tokens:
            self.fail(f"first_token + tokens must be within 0..{x.tokens}")

    def layernorm(self, node: LayerNorm) -> None:
        """Check that rows and constants fit."""
        self.rows(node.x, node.first_token)
        self.within("channels", node.channels, 1, NORM_CHANNELS)
        self.array("gain", (node.channels,), *limits(16))
        self.array("offset", (node.channels,), *limits(32))
        self.within("shift", node.shift, 0, LARGEST_SHIFT)
        self.within("epsilon", node.epsilon, 1, (1 << 40) - 1)

    def scale(self, node: Scale) -> None:
        """Check that rows fit."""
        self.rows(node.x, node.first_token)
        self.ratio()

    def pool(self, node: Pool) -> None:
        """Check that there are tokens to pool."""
        x = self.operand(node.x, wide=False)
        self.shape(1, x.channels)
        self.within("pooled", node.pooled, 1, x.tokens)
        self.ratio()
