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
    differ. Whether sums overflow depends on values too: see :attr:`Graph.largest_sums`.
    """
    nodes = []
    for node in graph.nodes:
        about: list[object] = [type(node).__name__]
        for field in fields(node):
            value = getattr(node, field.name)
            if isinstance(value, np.ndarray):
                about.append(value.shape)
            elif field.name not in NUMBERS:
                about.append(value)
        nodes.append(tuple(about))
    return (graph.data_bits, graph.gelu, *nodes)
