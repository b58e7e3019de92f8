"""Number formats side by side: how far each layer is from float64, published formats and ours."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.execute import execute
from moesaic.models.float_errors import LANES, decibels
from moesaic.models.float_run import run_float
from moesaic.models.graph import Constant, Graph, Route
from moesaic.models.input_matrix import check_images, input_matrices
from moesaic.models.network import Gate, Network
from moesaic.models.published_formats import run_published
from moesaic.models.published_parameters import published_parameters
from moesaic.models.quantise import quantise
from moesaic.models.routing import GATE_SCORE_BITS

W16A32, W16, NEAREST = "W16A32", "W16 alone", "W16A32 nearest"
W16A16, W8A8 = "W16A16", "W8A8"
FORMATS = (W16A32, W16, NEAREST, W16A16, W8A8)
DATA_BITS = {W16A16: 16, W8A8: 8}

Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatRow:
    """One layer: SQNR in decibels by format, where the format has this value by itself.

    `wraps` and `saturations` are those of the published format. Of a gate, `rerouted` holds by
    format how many tokens go to other experts than in float64; behind it errors are theirs too.
    """

    name: str
    kind: str
    sqnr_db: Mapping[str, float]
    wraps: int
    saturations: int
    rerouted: Mapping[str, int]


def sqnr_table(
    network: Network, images: NDArray[Any], *, calibration: NDArray[Any] | None = None
) -> list[FormatRow]:
    """Return a row for each layer of `network`, over `images`, in the order of layers.

    ``W16A32`` is the publication's (:mod:`moesaic.models.published_formats`), ``W16 alone`` float64
    with the same parameters; in ``W16A32 nearest`` they are rounded to nearest instead of down. The
    others are those of `quantise`, calibrated on `calibration`, or on `images`
    without. A layer that is fused into the next one there, such as
    experts into the addition behind them, has no SQNR of its own.
    """
    images = check_images(network, images)
    exact = run_float(network, images.astype(np.float64))
    published = run_published(network, images)
    nearest = run_published(network, images, nearest=True)
    values: dict[str, Mapping[str, Reals]] = {
        key: {name: run.value(name) for name in run.codes}
        for key, run in ((W16A32, published), (NEAREST, nearest))
    }
    values[W16] = run_float(published_parameters(network), images.astype(np.float64))
    calibration = images if calibration is None else calibration
    for name, data_bits in DATA_BITS.items():
        graph = quantise(network, calibration, data_bits=data_bits)
        values[name] = _integer_values(graph, network, images)
    rows = []
    for layer in network.layers:
        found = {key: values[key][layer.name] for key in FORMATS if layer.name in values[key]}
        signal = exact[layer.name]
        rerouted = {}
        if isinstance(layer, Gate):
            rerouted = {
                key: int(((value > 0) != (signal > 0)).any(axis=-1).sum())
                for key, value in found.items()
            }
        rows.append(
            FormatRow(
                name=layer.name,
                kind=type(layer).__name__,
                sqnr_db={key: _sqnr(signal, value) for key, value in found.items()},
                wraps=published.wraps[layer.name],
                saturations=published.saturations[layer.name],
                rerouted=rerouted,
            )
        )
    return rows


def _integer_values(graph: Graph, network: Network, images: NDArray[Any]) -> dict[str, Reals]:
    """Return what the integer network computes, in real numbers, by the float layer's name."""
    codes = execute(graph, input_matrices(graph, network, images), lanes=LANES)
    out: dict[str, Reals] = {}
    for node in graph.nodes:
        if isinstance(node, Route):
            out[node.name] = np.maximum(codes[node.name], 0) / (1 << GATE_SCORE_BITS)
        elif node.source and not isinstance(node, Constant):
            out.setdefault(node.source, codes[node.name] * node.scale)
    return out


def _sqnr(exact: Reals, found: Reals) -> float:
    """Return the power of the exact values over that of the errors."""
    return decibels(float(np.sum(exact**2)), float(np.sum((found - exact) ** 2)))
