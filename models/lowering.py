"""From float layers to integer nodes, given all scales."""

from collections.abc import Callable
from typing import Any

import numpy as np

from moesaic.models.attention_nodes import Size, softmax_nodes
from moesaic.models.errors import InputError
from moesaic.models.expert_nodes import expert_nodes, gate_nodes
from moesaic.models.fold import fused
from moesaic.models.gelu import input_fraction, output_fraction
from moesaic.models.graph import (
    Constant,
    Input,
    LayerNorm,
    Mix,
    Node,
    Pool,
    Product,
    Scale,
)
from moesaic.models.integer_weights import integer_linear, ratio
from moesaic.models.layernorm import layernorm_constants
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Experts,
    Gate,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Network,
    Norm,
    Select,
)
from moesaic.models.network_shapes import Shape
from moesaic.models.requant import limits
from moesaic.models.scales import Scales, wide_layers


class Lowering:
    """Makes the nodes of a network in order.

    A layer's value may exist narrow, wide or both: ``narrow`` and ``wide`` return the name of the
    node that holds it, and append a Scale (wide to narrow) or a product with the identity (narrow
    to wide) the first time that the form is wanted which the layer's own node does not have.

    Parameters
    ----------
    network : Network
        After :func:`moesaic.models.fold.fold`.
    shapes : dict
        (tokens, channels) of each layer.
    scales : Scales
    data_bits, wide_bits : int
        Widths of narrow and wide values.
    """

    def __init__(
        self,
        network: Network,
        shapes: dict[str, Shape],
        scales: Scales,
        *,
        data_bits: int,
        wide_bits: int,
    ) -> None:
        self.network, self.shapes, self.scales = network, shapes, scales
        self.data_bits, self.wide_bits = data_bits, wide_bits
        self.inside = fused(network)
        self.wide_layers = wide_layers(network)
        self.nodes: list[Node] = []
        self.forms: dict[tuple[str, bool], str] = {}  # (layer, wide) to node

    def run(self) -> tuple[Node, ...]:
        """Return all nodes."""
        for layer in self.network.layers:
            if layer.name not in self.inside:
                self.layer(layer)
        self.wide(self.network.layers[-1].name)
        return tuple(self.nodes)

    def emit(self, make: Callable[..., Node], layer: Layer, *, wide: bool, **fields: Any) -> None:
        """Append a node that holds the value of `layer`."""
        scale = (self.scales.wide if wide else self.scales.narrow)[layer.name]
        tokens, channels = self.shapes[layer.name]
        fields = {"name": layer.name, "tokens": tokens, "channels": channels, **fields}
        node = make(scale=scale, source=layer.name, **fields)
        self.nodes.append(node)
        self.forms[layer.name, wide] = node.name

    def narrow(self, name: str) -> str:
        """Return the node that holds a layer narrow."""
        if (name, False) not in self.forms:
            source, first = name, 0
            if isinstance(select := self.network[name], Select):
                source, first = select.x, select.token
            x = self.wide(source)
            pair = self.ratio(name, self.scales.wide[source], self.scales.narrow[name])
            new = f"{name}.narrow" if (name, True) in self.forms else name
            layer = self.network[name]
            self.emit(Scale, layer, wide=False, name=new, x=x, first_token=first, **pair)
        return self.forms[name, False]

    def wide(self, name: str) -> str:
        """Return the node that holds a layer wide."""
        if (name, True) not in self.forms:
            self.copy(self.network[name], name, f"{name}.wide", epilogue="wide")
        return self.forms[name, True]

    def ratio(self, what: str, scale_in: float, scale_out: float) -> dict[str, Any]:
        """Return the fields `multiplier` and `shift`."""
        multiplier, shift = ratio(scale_in / scale_out, what)
        return {"multiplier": multiplier, "shift": shift}

    def product(self, linear: Linear, scale: float) -> dict[str, Any]:
        """Return the fields of a product whose results have units of `scale`."""
        source = self.narrow(linear.x)
        integers = integer_linear(
            linear, scale_in=self.scales.narrow[linear.x], scale_out=scale, bits=self.data_bits
        )
        return {
            "name": linear.name,
            "x": source,
            "weight": integers.weight,
            "bias": integers.bias,
            "multiplier": integers.multiplier,
            "shift": integers.shift,
            "nm": linear.nm,
        }

    def copy(self, layer: Layer, x: str, name: str, **fields: Any) -> None:
        """Append a product with the identity that makes the wide value of `layer`."""
        weight = np.eye(self.shapes[x][1], dtype=np.float32)
        linear = Linear(name=name, x=x, weight=weight, bias=np.zeros_like(weight[0]))
        parts = self.product(linear, self.scales.wide[layer.name])
        self.emit(Product, layer, wide=True, **parts, **fields)

    def linear(self, linear: Linear, layer: Layer, **fields: Any) -> None:
        """Append the product of `linear` that makes the value of `layer`."""
        wide = layer.name in self.wide_layers
        scale = (self.scales.wide if wide else self.scales.narrow)[layer.name]
        if isinstance(layer, Gelu):
            scale = 2.0 ** -input_fraction(self.wide_bits)
        parts = self.product(linear, scale)
        self.emit(Product, layer, wide=wide, **parts, **fields)

    def layer(self, layer: Layer) -> None:
        """Append the nodes of one layer."""
        match layer:
            case Image():
                self.emit(Input, layer, wide=False)
            case Linear():
                wide = layer.name in self.wide_layers
                self.linear(layer, layer, epilogue="wide" if wide else "narrow")
            case Embed():
                self.add(layer, self.table(layer))
            case Add():
                self.add(layer, self.wide(layer.residual))
            case Gelu():
                self.gelu(layer)
            case Norm():
                self.norm(layer)
            case Attention():
                self.attention(layer)
            case Gate():
                self.nodes += gate_nodes(
                    layer,
                    x=self.narrow(layer.x),
                    tokens=self.shapes[layer.name][0],
                    scale=self.scales.narrow[layer.x],
                    data_bits=self.data_bits,
                )
            case Experts():
                raise InputError(f"{layer.name}: experts must be added to a residual stream")
            case MeanPool():
                x = self.narrow(layer.x)
                average = self.scales.narrow[layer.x] / layer.tokens
                pair = self.ratio(layer.name, average, self.scales.narrow[layer.name])
                self.emit(Pool, layer, wide=False, x=x, pooled=layer.tokens, **pair)
            case Select():
                pass  # made in the form that is wanted

    def table(self, layer: Embed) -> str:
        """Append the constant that an embedding begins with."""
        low, high = limits(self.wide_bits)
        value = np.rint(layer.table.astype(np.float64) / self.scales.wide[layer.name])
        if value.min() < low or value.max() > high:
            raise InputError(f"{layer.name}: table is far beyond the values of calibration")
        name = f"{layer.name}.table"
        self.emit(Constant, layer, wide=True, name=name, value=value.astype(np.int64))
        return name

    def add(self, layer: Embed | Add, residual: str) -> None:
        """Append the product whose epilogue adds onto the stream."""
        linear = self.network[layer.x]
        if isinstance(linear, Experts):
            self.nodes += expert_nodes(
                linear,
                x=self.narrow(linear.x),
                added=layer.name,
                residual=residual,
                tokens=self.shapes[layer.name][0],
                scales=self.scales,
                data_bits=self.data_bits,
                wide_bits=self.wide_bits,
            )
            self.forms[layer.name, True] = self.nodes[-1].name
        elif layer.x in self.inside and isinstance(linear, Linear):
            self.linear(linear, layer, epilogue="add", residual=residual)
        else:
            self.copy(layer, layer.x, layer.name, epilogue="add", residual=residual)

    def gelu(self, layer: Gelu) -> None:
        """Append the product whose epilogue is GELU."""
        linear = self.network[layer.x]
        if layer.x not in self.inside or not isinstance(linear, Linear):
            raise InputError(
                f"{layer.name}: GELU must follow a linear layer that nothing else reads"
            )
        unit = 2.0 ** -output_fraction(self.wide_bits)
        multiplier, shift = ratio(unit / self.scales.narrow[layer.name], layer.name)
        self.linear(linear, layer, epilogue="gelu", post_multiplier=multiplier, post_shift=shift)

    def norm(self, layer: Norm) -> None:
        """Append a LayerNorm of all tokens or of one."""
        wide = layer.name in self.wide_layers
        x, channels = self.wide(layer.x), self.shapes[layer.name][1]
        try:
            gain, offset, shift, epsilon = layernorm_constants(
                layer.gain,
                layer.offset,
                scale_in=self.scales.wide[layer.x],
                scale_out=(self.scales.wide if wide else self.scales.narrow)[layer.name],
                epsilon=layer.epsilon,
                n=channels,
                data_bits=self.data_bits,
            )
        except ValueError as error:
            raise InputError(f"{layer.name}: {error}") from error
        self.emit(
            LayerNorm,
            layer,
            wide=wide,
            x=x,
            first_token=layer.token or 0,
            gain=gain,
            offset=offset,
            shift=shift,
            epsilon=epsilon,
            to_wide=wide,
        )

    def attention(self, layer: Attention) -> None:
        """Append scores, softmax and mix."""
        name, heads = layer.name, layer.heads
        tokens, channels = self.shapes[name]
        q, k, v = (self.narrow(x) for x in (layer.q, layer.k, layer.v))
        size = Size(tokens=tokens, heads=heads, head_channels=channels // heads)
        probs = softmax_nodes(layer, size, self.scales.narrow, q=q, k=k, data_bits=self.data_bits)
        self.nodes += probs
        self.emit(
            Mix,
            layer,
            wide=False,
            p=probs[-1].name,
            v=v,
            heads=heads,
            head_channels=size.head_channels,
        )
