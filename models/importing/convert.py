"""A program becomes a network."""

from moesaic.models.errors import InputError
from moesaic.models.importing import arithmetic, contractions
from moesaic.models.importing.finish import named, used_layers, with_stream
from moesaic.models.importing.program import Program, UnsupportedError
from moesaic.models.importing.tracer import Tracer
from moesaic.models.network import Linear, Network
from moesaic.models.network_shapes import value_shapes

OPERATORS = (arithmetic, contractions)  # importing them registers their operators


def network_of(program: Program, name: str) -> Network:
    """Return the network that `program` computes.

    Tokens that do not come from the input, such as the class token, are the last ones, whatever
    their place in the program; where the result has all tokens, so it has them.
    """
    tracer = Tracer(program)
    view = tracer.run()
    try:
        result = tracer.builder.settle(view)
    except UnsupportedError as error:
        raise InputError(f"unsupported result: {error}") from error
    layers = used_layers(tracer.builder.layers, result.name)
    if not any(isinstance(layer, Linear) for layer in layers):
        raise InputError("holds no linear layer")
    network = Network(name=name, layers=tuple(named(with_stream(layers))))
    value_shapes(network)
    return network
