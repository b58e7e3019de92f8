"""A program becomes a network."""

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.importing import arithmetic, contractions
from moesaic.models.importing.finish import named, used_layers, with_stream
from moesaic.models.importing.program import Program, UnsupportedError
from moesaic.models.importing.tracer import Tracer
from moesaic.models.network import Image, Linear, Network
from moesaic.models.network_shapes import value_shapes

OPERATORS = (arithmetic, contractions)  # importing them registers their operators


def network_of(program: Program, name: str) -> Network:
    """Return the network that `program` computes.

    Tokens that do not come from the input, such as the class token, are the last ones, whatever
    their place in the program; where the result has all tokens, so it has them. A result whose
    tokens are in any other order is refused.
    """
    tracer = Tracer(program)
    view = tracer.run()
    try:
        result = tracer.builder.settle(view)
    except UnsupportedError as error:
        raise InputError(f"unsupported result: {error}") from error
    layers = used_layers(tracer.builder.layers, result.name)
    tokens = next((x.tokens for x in layers if isinstance(x, Image)), 0)
    if (np.diff(result.rows[result.rows < tokens]) < 0).any():
        raise InputError("unsupported result: its tokens are in another order than the input's")
    if not any(isinstance(layer, Linear) for layer in layers):
        raise InputError("holds no linear layer")
    network = Network(name=name, layers=tuple(named(with_stream(layers))))
    value_shapes(network)
    return network
