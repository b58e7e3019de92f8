"""How good the results of a run are: errors against the float network, a metric with labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moesaic.models.accuracy import METRICS, float_results, integer_results
from moesaic.models.float_errors import float_errors
from moesaic.models.graph import Graph, Ints
from moesaic.models.network import Floats, Network
from moesaic.models.zoo import Labels

ERROR_IMAGES = 1  # whose layers are compared with the float network


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """`float_errors` by node; `accuracy` as in the report, None without labels."""

    float_errors: dict[str, dict[str, float]]
    accuracy: dict[str, Any] | None


def evaluate(
    graph: Graph,
    network: Network,
    images: Floats,
    labels: Labels | None,
    *,
    metric: str,
    lanes: int,
    rtl: Sequence[Ints],
) -> Evaluation:
    """Compare the integer network with the float network; `rtl` holds RTL's results, if any.

    `metric` is one of :data:`moesaic.models.accuracy.METRICS`; integers count in units of the last
    node's scale.
    """
    accuracy = None
    if labels is not None:
        measure, scale = METRICS[metric], graph.nodes[-1].scale
        integers = integer_results(graph, network, images, lanes=lanes)
        accuracy = {
            "metric": metric,
            "float": measure(float_results(network, images), labels),
            "quantised": measure(integers * scale, labels),
            "rtl": measure(np.stack(rtl) * scale, labels) if len(rtl) == len(labels) else None,
            "images": len(labels),
        }
    errors = float_errors(graph, network, images[:ERROR_IMAGES], lanes=lanes)
    return Evaluation(float_errors=errors, accuracy=accuracy)
