"""Integer nodes of mixtures of experts: the gate's logits and routing, and two products each."""

from math import log
from typing import Any

from moesaic.models.gelu import input_fraction, output_fraction
from moesaic.models.graph import SCORE_FRACTION_BITS, Node, Product, Route
from moesaic.models.integer_weights import integer_linear, ratio
from moesaic.models.network import Experts, Gate, Linear
from moesaic.models.ranges import hidden_of
from moesaic.models.scales import Scales

LOGIT_UNIT = log(2) / (1 << SCORE_FRACTION_BITS)  # of a logit, whose softmax has base e


def expert_linears(layer: Experts, expert: int) -> tuple[Linear, Linear]:
    """Return the two linear layers of one expert."""
    hidden = hidden_of(layer, expert)
    return (
        Linear(
            name=hidden,
            x=layer.x,
            weight=layer.hidden_weight[expert],
            bias=layer.hidden_bias[expert],
        ),
        Linear(
            name=f"{layer.name}.{expert}",
            x=hidden,
            weight=layer.weight[expert],
            bias=layer.bias[expert],
        ),
    )


def gate_nodes(
    layer: Gate, *, x: str, tokens: int, scale: float, data_bits: int
) -> tuple[Product, Route]:
    """Return the product of the node `x`, of units of `scale`, with the gate, and its routing."""
    experts = layer.weight.shape[1]
    linear = Linear(
        name=f"{layer.name}.logits", x=layer.x, weight=layer.weight, bias=0 * layer.weight[0]
    )
    size: dict[str, Any] = {"tokens": tokens, "channels": experts}
    logits = Product(
        name=linear.name,
        x=x,
        scale=LOGIT_UNIT,
        epilogue="wide",
        **size,
        **_parameters(linear, scale_in=scale, scale_out=LOGIT_UNIT, data_bits=data_bits),
    )
    return logits, Route(
        name=layer.name,
        x=logits.name,
        scale=1.0,
        top=layer.top,
        renormalise=layer.renormalise,
        **size,
    )


def expert_nodes(
    layer: Experts,
    *,
    x: str,
    added: str,
    residual: str,
    tokens: int,
    scales: Scales,
    data_bits: int,
    wide_bits: int,
) -> list[Node]:
    """Return the products that add all experts onto the stream; the last makes layer `added`."""
    nodes: list[Node] = []
    stream = scales.wide[added]
    count = len(layer.bias)
    for expert in range(count):
        first, second = expert_linears(layer, expert)
        unit = scales.narrow[first.name]
        gelu_unit = 2.0 ** -input_fraction(wide_bits)
        multiplier, shift = ratio(2.0 ** -output_fraction(wide_bits) / unit, first.name)
        routed: dict[str, Any] = {"tokens": tokens, "route": layer.gate, "expert": expert}
        hidden = Product(
            name=first.name,
            x=x,
            scale=unit,
            channels=first.weight.shape[1],
            epilogue="gelu",
            post_multiplier=multiplier,
            post_shift=shift,
            **routed,
            **_parameters(
                first, scale_in=scales.narrow[layer.x], scale_out=gelu_unit, data_bits=data_bits
            ),
        )
        out = Product(
            name=second.name,
            x=hidden.name,
            scale=stream,
            channels=second.weight.shape[1],
            epilogue="weigh",
            residual=residual,
            source="" if expert + 1 < count else added,
            **routed,
            **_parameters(second, scale_in=unit, scale_out=stream, data_bits=data_bits),
        )
        nodes += [hidden, out]
        residual = out.name
    return nodes


def _parameters(
    linear: Linear, *, scale_in: float, scale_out: float, data_bits: int
) -> dict[str, Any]:
    integers = integer_linear(linear, scale_in=scale_in, scale_out=scale_out, bits=data_bits)
    return {
        "weight": integers.weight,
        "bias": integers.bias,
        "multiplier": integers.multiplier,
        "shift": integers.shift,
    }
