"""Results of float and integer networks over many images, and how good they are."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.execute import execute
from moesaic.models.float_run import run_float
from moesaic.models.graph import Graph, Ints
from moesaic.models.input_matrix import check_images, input_matrices
from moesaic.models.network import Floats, Network

VALUES = 1 << 21  # values of all tensors held at once


def _batch(graph: Graph) -> int:
    """Return how many images run together."""
    return max(1, VALUES // sum(node.tokens * node.channels for node in graph.nodes))


def integer_results(graph: Graph, network: Network, images: NDArray[Any], *, lanes: int) -> Ints:
    """Return the last node's tensor (images, tokens, channels)."""
    images = check_images(network, images)
    batch, last = _batch(graph), graph.nodes[-1].name
    parts = [images[first : first + batch] for first in range(0, len(images), batch)]
    matrices = (input_matrices(graph, network, part) for part in parts)
    return np.concatenate([execute(graph, x, lanes=lanes)[last] for x in matrices])


def float_results(network: Network, images: NDArray[Any], *, batch: int = 8) -> Floats:
    """Return the last layer's value (images, tokens, channels)."""
    images = check_images(network, images)
    last = network.layers[-1].name
    parts = [images[first : first + batch] for first in range(0, len(images), batch)]
    return np.concatenate([run_float(network, part)[last] for part in parts]).astype(np.float32)


def top1(results: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the share, 0..1, of images whose first row is largest at the label."""
    return float(np.mean(results[:, 0].argmax(axis=-1) == labels))


def patch_accuracy(results: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the share, 0..1, of patches whose row is largest at the label.

    `results` is (images, tokens, classes), the patches first; `labels` is (images, patches).
    """
    return float(np.mean(results[:, : labels.shape[1]].argmax(axis=-1) == labels))


def rmse(results: NDArray[Any], labels: NDArray[Any]) -> float:
    """Return the root of the mean squared error over patches, in the labels' unit.

    `results` is (images, tokens, 1), the patches first; `labels` is (images, patches).
    """
    error = results[:, : labels.shape[1], 0].astype(np.float64) - labels
    return float(np.sqrt(np.mean(error**2)))


METRICS: dict[str, Callable[[NDArray[Any], NDArray[Any]], float]] = {
    "top1": top1,
    "accuracy": patch_accuracy,
    "rmse": rmse,
}
