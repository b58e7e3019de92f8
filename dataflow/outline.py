"""What a mapping takes from a network: its form, without its numbers."""

from dataclasses import fields

import numpy as np

from moesaic.models.graph import Graph

NUMBERS = {"scale", "multiplier", "shift", "post_multiplier", "post_shift", "epsilon"}
"""Fields of nodes that are numbers of a computation and steer nothing else."""

Outline = tuple[object, ...]


def outline(graph: Graph) -> Outline:
    """Return what a mapping depends on: of equal outlines all commands take equally long.

    Tasks of one network have one outline; the values of their weights, scales and parameters
    differ. Shapes of arrays follow from tokens and channels. Whether sums overflow depends on
    values too: see :attr:`Graph.largest_sums`.
    """
    nodes = []
    for node in graph.nodes:
        names = [field.name for field in fields(node) if field.name not in NUMBERS]
        values = [getattr(node, name) for name in names]
        kept = [value for value in values if not isinstance(value, np.ndarray)]
        nodes.append((type(node).__name__, *kept))
    return (graph.data_bits, graph.gelu, *nodes)
