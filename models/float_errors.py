"""How far the integer network is from the float network, layer by layer."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.execute import execute
from moesaic.models.float_run import run_float
from moesaic.models.graph import Constant, Graph
from moesaic.models.input_matrix import check_images, input_matrix
from moesaic.models.network import Network

LARGEST_DB = 200.0  # stands for no error at all; keeps tables free of infinity
LANES = 16


def float_errors(
    graph: Graph, network: Network, images: NDArray[Any], *, lanes: int = LANES
) -> dict[str, dict[str, float]]:
    """Return ``{"max_abs", "sqnr_db"}`` over `images` for each node that has a float layer.

    ``max_abs`` is the largest error in float units, ``sqnr_db`` the power of the float values over
    the power of the errors, in decibels within -200..200.
    """
    signal: dict[str, float] = {}
    noise: dict[str, float] = {}
    largest: dict[str, float] = {}
    nodes = [node for node in graph.nodes if node.source and not isinstance(node, Constant)]
    for image in check_images(network, images):
        floats = run_float(network, image[None])
        integers = execute(graph, input_matrix(graph, network, image), lanes=lanes)
        for node in nodes:
            exact = floats[node.source][0].astype(np.float64)
            error = integers[node.name] * node.scale - exact
            signal[node.name] = signal.get(node.name, 0.0) + float(np.sum(exact**2))
            noise[node.name] = noise.get(node.name, 0.0) + float(np.sum(error**2))
            largest[node.name] = max(largest.get(node.name, 0.0), float(np.abs(error).max()))
    return {
        name: {"max_abs": largest[name], "sqnr_db": decibels(signal[name], noise[name])}
        for name in largest
    }


def decibels(signal: float, noise: float) -> float:
    """Return the ratio of two powers in decibels."""
    if noise <= 0:
        return LARGEST_DB
    if signal <= 0:
        return -LARGEST_DB
    return float(np.clip(10 * np.log10(signal / noise), -LARGEST_DB, LARGEST_DB))
