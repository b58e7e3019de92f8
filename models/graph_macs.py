"""Multiply-accumulates of integer networks, as if dense and as the array executes them."""

from dataclasses import dataclass

from moesaic.models.graph import Graph, Mix, Node, Product, Route, Scores
from moesaic.models.sparse import padded


@dataclass(frozen=True, slots=True, kw_only=True)
class Macs:
    """`dense` counts pruned weights too; `executed` counts those that the array multiplies."""

    dense: int = 0
    executed: int = 0

    def __add__(self, other: "Macs") -> "Macs":
        return Macs(dense=self.dense + other.dense, executed=self.executed + other.executed)


def node_macs(graph: Graph, node: Node) -> Macs:
    """Return the MACs of one node of `graph`; 0 for those of the vector unit.

    A product of T tokens, K inputs and N outputs has T * K * N; pruned n:m it executes
    T * K' * N * n / m with K' inputs in whole groups. Attention has heads * T * T * channels of a
    head for its scores and as many for its mix. An expert's product has that of T * top tokens,
    divided by the number of experts: how many it gets depends on the image.
    """
    match node:
        case Product():
            tokens, (inputs, outputs) = graph[node.x].tokens, node.weight.shape
            dense = executed = tokens * inputs * outputs
            if node.route is not None and isinstance(route := graph[node.route], Route):
                first, after = (
                    dense * route.top * place // route.channels
                    for place in (node.expert, node.expert + 1)
                )
                dense = executed = after - first
            if node.nm is not None:
                executed = tokens * padded(inputs, node.nm) // node.nm.expansion * outputs
            return Macs(dense=dense, executed=executed)
        case Scores():
            both = node.heads * node.tokens * node.channels * node.head_channels
            return Macs(dense=both, executed=both)
        case Mix():
            both = node.heads * node.tokens * graph[node.v].tokens * node.head_channels
            return Macs(dense=both, executed=both)
    return Macs()


def graph_macs(graph: Graph) -> Macs:
    """Return the MACs of all nodes together."""
    return sum((node_macs(graph, node) for node in graph.nodes), Macs())
