"""From an image to the matrix that an integer network takes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError
from moesaic.models.float_run import cut_patches
from moesaic.models.graph import Graph, Input, Ints
from moesaic.models.network import Floats, Image, Network
from moesaic.models.requant import limits


def image_layer(network: Network) -> Image:
    """Return the network's image."""
    return next(layer for layer in network.layers if isinstance(layer, Image))


def input_node(graph: Graph) -> Input:
    """Return the graph's input."""
    return next(node for node in graph.nodes if isinstance(node, Input))


def check_images(network: Network, images: NDArray[Any]) -> Floats:
    """Return `images` as float32.

    They are (images, channels, height, width), or (images, tokens, channels) where the network
    takes tokens. InputError unless there are some, they have this shape and they are finite.
    """
    layer = image_layer(network)
    shape: tuple[int, ...] = (layer.channels, layer.height, layer.width)
    if not layer.patch:
        shape = shape[1:]
    if images.dtype.kind not in "fiu" or images.shape[1:] != shape or not len(images):
        raise InputError(
            f"images must be numbers of shape (images, {', '.join(map(str, shape))}), "
            f"not {images.dtype} of shape {images.shape}"
        )
    values = images.astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError("images must be finite, but hold NaN or infinity")
    return values


def input_matrices(graph: Graph, network: Network, images: NDArray[Any]) -> Ints:
    """Return the input node's matrices (images, tokens, channels) for several images.

    Rows are patches, each in the order channel, patch row, patch column. Values are rounded half
    to even in units of the input's scale and saturate at data_bits. InputError for other shapes,
    NaN and infinity.
    """
    rows = check_images(network, images)
    patch = image_layer(network).patch
    if patch:
        rows = cut_patches(rows, patch).astype(np.float32)
    integers = np.rint(rows.astype(np.float64) / input_node(graph).scale)
    return np.clip(integers, *limits(graph.data_bits)).astype(np.int64)


def input_matrix(graph: Graph, network: Network, image: NDArray[Any]) -> Ints:
    """Return the matrix (tokens, channels) of one image, as `input_matrices` does."""
    return input_matrices(graph, network, image[None])[0]
