"""Post-training quantisation: a float network and calibration images make an integer network."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.check_graph import check_graph
from moesaic.models.errors import InputError
from moesaic.models.fold import fold
from moesaic.models.gelu_forms import check_gelu
from moesaic.models.graph import Graph, Softmax
from moesaic.models.graph_macs import graph_macs
from moesaic.models.input_matrix import check_images
from moesaic.models.lowering import Lowering
from moesaic.models.network import Linear, Network
from moesaic.models.network_shapes import value_shapes
from moesaic.models.ranges import METHODS
from moesaic.models.scales import find_scales
from moesaic.models.softmax import PASSES
from moesaic.models.sparse import check_nm, is_nm


def quantise(
    network: Network,
    calibration_images: NDArray[np.floating],
    *,
    data_bits: int = 8,
    nm: NM | None = None,
    method: str = "mse",
    gelu: str = "table",
    softmax_passes: int = 1,
) -> Graph:
    """Return the integer network of `network`.

    Weights are symmetric per output channel, narrow activations symmetric per tensor, clipped by
    `method` (``mse`` or ``percentile``) where they have 8 bits; each residual stream has one wide
    scale. Linear layers that say N:M must be N:M; with `nm`, those that do not say and are `nm` are
    taken for pruned. `gelu` is the form of GELU, a name of :mod:`moesaic.models.gelu_forms`;
    `softmax_passes` (1, 2 or 3) is that of every softmax. `calibration_images` is (images,
    channels, height, width), or (images, tokens, channels). InputError for anything that cannot be
    quantised.
    """
    if data_bits not in (8, 16):
        raise InputError(f"data_bits must be 8 or 16, not {data_bits!r}")
    if method not in METHODS:
        raise InputError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    check_gelu(gelu)
    if softmax_passes not in PASSES:
        raise InputError(f"softmax_passes must be 1, 2 or 3, not {softmax_passes!r}")
    value_shapes(network)
    images = check_images(network, calibration_images)
    network = fold(_mark(network, nm))
    shapes = value_shapes(network)
    graph = Graph(
        name=network.name,
        data_bits=data_bits,
        nodes=(),
        gelu=gelu,
        labels=dict(network.labels),
    )
    scales = find_scales(
        network,
        shapes,
        images,
        data_bits=data_bits,
        wide_bits=graph.wide_bits,
        method=method,
    )
    lowering = Lowering(network, shapes, scales, data_bits=data_bits, wide_bits=graph.wide_bits)
    nodes = (
        replace(node, softmax_passes=softmax_passes) if isinstance(node, Softmax) else node
        for node in lowering.run()
    )
    graph = replace(graph, nodes=tuple(nodes))
    graph = replace(graph, macs=graph_macs(graph).dense)
    check_graph(graph)
    return graph


def _mark(network: Network, nm: NM | None) -> Network:
    """Check the N:M that layers say; mark layers as `nm` that do not say and are."""
    layers = list(network.layers)
    for place, layer in enumerate(layers):
        if not isinstance(layer, Linear):
            continue
        if layer.nm is not None:
            try:
                check_nm(layer.weight, layer.nm)
            except InputError as error:
                raise InputError(f"{layer.name}: {error}") from error
        elif nm is not None and is_nm(layer.weight, nm):
            layers[place] = replace(layer, nm=nm)
    return replace(network, layers=tuple(layers))
