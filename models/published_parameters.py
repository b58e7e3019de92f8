"""Which format each parameter has in Edge-MoE, and a network whose parameters are in them.

Formats are those of the released source (github.com/sharc-lab/Edge-MoE, arXiv 2305.18691): they
follow the ranges of M3ViT's trained weights.
"""

from dataclasses import replace
from typing import Any

from moesaic.models.network import (
    Attention,
    Experts,
    Gate,
    Image,
    Layer,
    Linear,
    Network,
    Norm,
)
from moesaic.models.published_fixed import (
    ATTENTION_BIAS,
    BIAS,
    GAIN,
    LINEAR_WEIGHT,
    PATCH_WEIGHT,
    Fixed,
)


def parameter_formats(network: Network, layer: Layer) -> dict[str, Fixed]:
    """Return the format of each 16-bit parameter of a layer, by the name of its field.

    Biases of the linear layers in front of and behind an attention have more bits before the
    point; weights of the patch embedding have none.
    """
    match layer:
        case Linear():
            before = network[layer.x]
            patches = isinstance(before, Image) and before.patch > 0
            around = isinstance(before, Attention) or any(
                isinstance(other, Attention) and layer.name in (other.q, other.k, other.v)
                for other in network.layers
            )
            return {
                "weight": PATCH_WEIGHT if patches else LINEAR_WEIGHT,
                "bias": ATTENTION_BIAS if around else BIAS,
            }
        case Norm():
            return {"gain": GAIN, "offset": BIAS}
        case Gate():
            return {"weight": LINEAR_WEIGHT}
        case Experts():
            return {
                "hidden_weight": LINEAR_WEIGHT,
                "hidden_bias": BIAS,
                "weight": LINEAR_WEIGHT,
                "bias": BIAS,
            }
    return {}


def published_parameters(network: Network) -> Network:
    """Return the float network with 16-bit parameters as the publication rounds them, down.

    16 bits fit float32, so run in float64 it has the published parameters' errors and no others.
    """
    layers = []
    for layer in network.layers:
        fields: dict[str, Any] = {}
        for name, fixed in parameter_formats(network, layer).items():
            codes, _ = fixed.encode(getattr(layer, name))
            fields[name] = (codes / 2.0**fixed.fraction_bits).astype("float32")
        layers.append(replace(layer, **fields))
    return replace(network, layers=tuple(layers))
