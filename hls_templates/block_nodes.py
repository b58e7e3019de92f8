"""Finds the nodes of one encoder block in an integer network."""

from dataclasses import dataclass, fields
from typing import TypeVar

from moesaic.models.errors import InputError
from moesaic.models.graph import (
    Graph,
    LayerNorm,
    Mix,
    Node,
    Product,
    Scores,
    Softmax,
)

AnyNode = TypeVar("AnyNode", bound=Node)


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockNodes:
    """The nodes of a block with norms before its branches, in the order in which they run."""

    norm1: LayerNorm
    q: Product
    k: Product
    v: Product
    scores: Scores
    softmax: Softmax
    mix: Mix
    proj: Product
    norm2: LayerNorm
    fc1: Product
    fc2: Product

    @property
    def compared(self) -> dict[str, Node]:
        """The nodes whose tensors a block keeps, all but scores and probabilities."""
        inside = ("scores", "softmax")
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name not in inside}


def block_nodes(graph: Graph, number: int) -> BlockNodes:
    """Return the nodes of a graph's block, counted from 0 by its attentions.

    InputError where there is no such block, or where it is none of norm, attention, addition, norm,
    perceptron with GELU, addition.
    """
    found = [node for node in graph.nodes if isinstance(node, Scores)]
    if not 0 <= number < len(found):
        raise InputError(f"block must be in 0..{len(found) - 1} of {graph.name}, not {number}")
    scores = found[number]
    finder = _Finder(graph, f"block {number} of {graph.name}")
    q, k = finder.product(graph[scores.q], "narrow"), finder.product(graph[scores.k], "narrow")
    softmax = finder.one(graph.users(scores.name), Softmax, "softmax")
    mix = finder.one(graph.users(softmax.name), Mix, "sums of values")
    v = finder.product(graph[mix.v], "narrow")
    norm1 = finder.one((graph[q.x],), LayerNorm, "norm before attention")
    proj = finder.product(finder.one(graph.users(mix.name), Product, "projection"), "add")
    norms = tuple(node for node in graph.users(proj.name) if isinstance(node, LayerNorm))
    norm2 = finder.one(norms, LayerNorm, "norm before perceptron")
    fc1 = finder.product(finder.one(graph.users(norm2.name), Product, "hidden layer"), "gelu")
    fc2 = finder.product(finder.one(graph.users(fc1.name), Product, "second layer"), "add")
    nodes = BlockNodes(
        norm1=norm1,
        q=q,
        k=k,
        v=v,
        scores=scores,
        softmax=softmax,
        mix=mix,
        proj=proj,
        norm2=norm2,
        fc1=fc1,
        fc2=fc2,
    )
    finder.check(nodes)
    return nodes


@dataclass(frozen=True, slots=True)
class _Finder:
    graph: Graph
    what: str

    def refuse(self, reason: str) -> InputError:
        return InputError(
            f"{self.what} must be norm, attention, addition, norm, perceptron with GELU by table, "
            f"addition, with softmax of one pass; {reason}"
        )

    def one(self, nodes: tuple[Node, ...], kind: type[AnyNode], what: str) -> AnyNode:
        if len(nodes) != 1 or not isinstance(nodes[0], kind):
            raise self.refuse(f"{what} is not one node alone")
        return nodes[0]

    def product(self, node: Node, epilogue: str) -> Product:
        if not isinstance(node, Product) or node.epilogue != epilogue or node.route is not None:
            raise self.refuse(f"{node.name} is no product with epilogue {epilogue}")
        return node

    def check(self, nodes: BlockNodes) -> None:
        stream = nodes.norm1.x
        if (nodes.k.x, nodes.v.x) != (nodes.norm1.name, nodes.norm1.name):
            raise self.refuse("keys and values are of another tensor than queries")
        if (nodes.proj.residual, nodes.fc2.residual) != (stream, nodes.proj.name):
            raise self.refuse("its additions are not onto its stream")
        if any(node.tokens != self.graph[stream].tokens for node in nodes.compared.values()):
            raise self.refuse("tokens are added or left out inside")
        if nodes.norm1.to_wide or nodes.norm2.to_wide:
            raise self.refuse("its norms make the stream")
        if nodes.softmax.softmax_passes != 1:
            raise self.refuse(f"its softmax takes {nodes.softmax.softmax_passes} passes")
        if self.graph.gelu != "table":
            raise self.refuse(f"its GELU is {self.graph.gelu}")
