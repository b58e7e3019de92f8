"""Rewriting of float networks into the forms that integer nodes have; values stay the same."""

from dataclasses import replace

from moesaic.models.network import (
    Add,
    Embed,
    Experts,
    Gelu,
    Layer,
    Linear,
    Network,
    Norm,
    Select,
)
from moesaic.models.network_shapes import sources

Consumers = dict[str, list[Layer]]


def consumers_of(network: Network) -> Consumers:
    """Return, for each layer, the layers that read it."""
    table: Consumers = {layer.name: [] for layer in network.layers}
    for layer in network.layers:
        for name in dict.fromkeys(sources(layer)):
            table[name].append(layer)
    return table


def fold(network: Network) -> Network:
    """Return the same network with fewer forms.

    A norm of which one token is selected is computed for that token alone, before or after the
    selection; branches of additions are linear layers where either side is; layers that nothing
    reads are gone. What remains bears the name of the layer whose value it has.
    """
    result = network.layers[-1].name
    layers = list(network.layers)
    consumers = consumers_of(network)
    for place, layer in enumerate(layers):
        match layer:
            case Select():
                norm = network[layer.x]
                alone = len(consumers[layer.x]) == 1
                if alone and isinstance(norm, Norm) and norm.token is None:
                    layers[place] = replace(norm, name=layer.name, token=layer.token)
            case Norm(token=None) if isinstance(select := network[layer.x], Select):
                layers[place] = replace(layer, x=select.x, token=select.token)
            case Add() if layer.x != layer.residual:
                if _fusable(network, consumers, layer.residual) and not _fusable(
                    network, consumers, layer.x
                ):
                    layers[place] = replace(layer, x=layer.residual, residual=layer.x)
    return _alive(replace(network, layers=tuple(layers)), result)


def _fusable(network: Network, consumers: Consumers, name: str) -> bool:
    """Tell whether a layer is made of products and read once, so that an epilogue can follow."""
    return isinstance(network[name], Linear | Experts) and len(consumers[name]) == 1


def _alive(network: Network, result: str) -> Network:
    """Drop layers that do not reach `result`."""
    alive = {result}
    for layer in reversed(network.layers):
        if layer.name in alive:
            alive.update(sources(layer))
    return replace(network, layers=tuple(x for x in network.layers if x.name in alive))


def fused(network: Network) -> dict[str, Layer]:
    """Return, for each linear or expert layer whose epilogue makes another layer, that one."""
    table: dict[str, Layer] = {}
    for name, readers in consumers_of(network).items():
        layer = network[name]
        if not isinstance(layer, Linear | Experts) or len(readers) != 1:
            continue
        match readers[0]:
            case Gelu() | Embed() as reader if isinstance(layer, Linear):
                table[name] = reader
            case Add(x=x, residual=residual) as addition if x == name != residual:
                table[name] = addition
    return table
