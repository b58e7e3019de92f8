"""The training step of a vision transformer, from its float network."""

from collections.abc import Mapping

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Gelu,
    Image,
    Layer,
    Linear,
    Network,
    Norm,
)
from moesaic.models.training.attention import Heads, attention_backward, attention_forward
from moesaic.models.training.builder import Builder, full, whole
from moesaic.models.training.gelu import gelu_backward, gelu_forward
from moesaic.models.training.linear import (
    add_bias,
    input_gradient,
    late_update,
    linear_backward,
    linear_forward,
)
from moesaic.models.training.loss import cross_entropy, overflow
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.method import Method
from moesaic.models.training.norm import norm_backward, norm_forward
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import ZERO, Ref, Role, Step, Tensor, Term
from moesaic.models.training.update import update

DENSE = Method()


class VitStep:
    """Builds the step layer by layer; `values` are what layers give, `streams` the residual ones.

    Parameters
    ----------
    network : Network
        Image, patch embedding, Embed, pre-norm blocks, Norm of the class token, head.
    method : Method
        Of the blocks' linear layers; the embedding and the head stay dense.
    optimiser : Optimiser
    batch : int
    """

    def __init__(
        self, network: Network, *, method: Method, optimiser: Optimiser, batch: int
    ) -> None:
        self.network, self.method, self.batch = network, method, batch
        self.b = Builder(
            step=Step(name=network.name), method=method, optimiser=optimiser, batch=batch
        )
        self.values: dict[str, Tensor] = {}
        self.matrices: dict[str, Matrix] = {}
        self.tokens = 0
        self.terms: dict[str, list[tuple[Matrix, Term | None]]] = {}  # by the input they share

    def build(self) -> Step:
        """Return the step."""
        layers = list(self.network.layers)
        for layer in layers:
            self._forward(layer)
        head = layers[-1]
        self.b.gradients[head.name] = cross_entropy(self.b, self.values[head.name])
        for layer in reversed(layers):
            self._backward(layer)
        overflow(self.b)
        return self.b.step

    def _matrix(self, layer: Linear) -> Matrix:
        inner = layer is not self.network.layers[-1] and not isinstance(
            self.network[layer.x], Image
        )
        self.matrices[layer.name] = Matrix(
            b=self.b,
            name=layer.name,
            outputs=layer.weight.shape[1],
            inputs=layer.weight.shape[0],
            method=self.method if inner else DENSE,
            wants_input=not isinstance(self.network[layer.x], Image),
        )
        return self.matrices[layer.name]

    def _forward(self, layer: Layer) -> None:
        b = self.b
        b.stage = "forward"
        match layer:
            case Image():
                rows = self.batch * layer.tokens
                self.values[layer.name] = b.operands("image", rows, layer.values, Role.INPUT)
            case Embed():
                self._embed(layer)
            case Norm():
                x = whole(self.values[layer.x])
                if layer.token is not None:
                    x = Ref(tensor=x.tensor, row=layer.token, rows=self.batch, step=self.tokens)
                self.values[layer.name] = norm_forward(b, layer.name, x, epsilon=layer.epsilon)
            case Linear():
                matrix = self._matrix(layer)
                y = linear_forward(b, matrix, whole(self.values[layer.x]))
                users = [other for other in self.network.layers if _reads(other, layer.name)]
                operand = any(isinstance(user, Attention) for user in users)
                if operand:
                    out = b.operands(layer.name, y.rows, y.channels)
                else:
                    out = b.floats(layer.name, y.rows, y.channels)
                add_bias(b, layer.name, y, out)
                self.values[layer.name] = out
            case Gelu():
                self.values[layer.name] = gelu_forward(b, layer.name, self.values[layer.x])
            case Attention():
                q, k, v = (self.values[name] for name in (layer.q, layer.k, layer.v))
                self.values[layer.name] = attention_forward(
                    b, layer.name, q, k, v, self._heads(layer), layer.scale
                )
            case Add():
                stream = self.values[layer.residual]
                b.work(layer.name, self.values[layer.x], q=full(stream), out=stream)
                self.values[layer.name] = stream
            case _:
                raise InputError(f"{layer.name}: training has no {type(layer).__name__}")

    def _embed(self, layer: Embed) -> None:
        b, patches = self.b, self.values[layer.x]
        self.tokens, channels = layer.table.shape
        table = b.floats(f"{layer.name}.table", self.tokens, channels, Role.STATE)
        stream = b.floats(layer.name, self.batch * self.tokens, channels)
        each = patches.rows // self.batch
        for image in range(self.batch):
            start = image * self.tokens
            b.work(
                f"{layer.name}.{image}",
                Ref(tensor=patches, row=image * each, rows=each),
                q=full(Ref(tensor=table, rows=each)),
                out=Ref(tensor=stream, row=start, rows=each),
            )
            if each < self.tokens:
                b.work(
                    f"{layer.name}.{image}.class",
                    Ref(tensor=table, row=each),
                    out=Ref(tensor=stream, row=start + each, rows=self.tokens - each),
                )
        self.values[layer.name] = stream

    def _heads(self, layer: Attention) -> Heads:
        q = self.values[layer.q]
        return Heads(images=self.batch, tokens=self.tokens, heads=layer.heads, channels=q.channels)

    def _backward(self, layer: Layer) -> None:
        b = self.b
        b.stage = "backward"
        match layer:
            case Linear():
                self._linear_backward(layer)
            case Norm():
                self._norm_backward(layer)
            case Gelu():
                b.gradients[layer.x] = gelu_backward(b, layer.name, b.gradients[layer.name])
            case Attention():
                parts = {x: self.values[getattr(layer, x)] for x in "qkv"}
                found = attention_backward(
                    b, layer.name, b.gradients[layer.name], parts, self._heads(layer), layer.scale
                )
                for letter, gradient in found.items():
                    b.gradients[getattr(layer, letter)] = gradient
            case Add():
                b.gradients[layer.x] = b.gradients[layer.residual] = b.gradients[layer.name]
            case Embed():
                self._embed_backward(layer)

    def _linear_backward(self, layer: Linear) -> None:
        """The layers that read one input share the sum of their products."""
        b, matrix = self.b, self.matrices[layer.name]
        x = whole(self.values[layer.x])
        term = linear_backward(b, matrix, x, b.gradients[layer.name])
        same = [m for m in self.network.layers if isinstance(m, Linear) and m.x == layer.x]
        self.terms.setdefault(layer.x, []).append((matrix, term))
        if len(self.terms[layer.x]) < len(same):
            return
        if matrix.wants_input:
            b.gradients[layer.x] = input_gradient(b, layer.x, x.rows, self.terms[layer.x])
        for each, _ in self.terms[layer.x]:
            late_update(b, each, x, b.gradients[each.name])

    def _norm_backward(self, layer: Norm) -> None:
        b, gradient = self.b, self.b.gradients[layer.name]
        stream = self.values[layer.x]
        first = layer.x not in b.gradients
        if first:
            b.gradients[layer.x] = b.floats("stream.gradient", stream.rows, stream.channels)
        onto = whole(b.gradients[layer.x])
        if layer.token is not None:
            b.work("stream.gradient.zero", stream, p=ZERO, how=Combine.EQUAL, out=onto)
            onto = Ref(tensor=onto.tensor, row=layer.token, rows=self.batch, step=self.tokens)
        norm_backward(b, layer.name, gradient, onto, first=first)

    def _embed_backward(self, layer: Embed) -> None:
        b, gradient = self.b, self.b.gradients[layer.name]
        table = b.step.tensors[f"{layer.name}.table"]
        total = b.floats(f"{layer.name}.table.gradient", table.rows, table.channels)
        patches = self.values[layer.x]
        each = patches.rows // self.batch
        packed = b.floats(f"{layer.x}.gradient", patches.rows, patches.channels)
        for image in range(self.batch):
            part = Ref(tensor=gradient, row=image * self.tokens, rows=self.tokens)
            if image:
                b.work(f"{total.name}.{image}", part, q=full(total), out=total)
            else:
                b.work(f"{total.name}.{image}", part, out=total)
            b.work(
                f"{packed.name}.{image}",
                Ref(tensor=gradient, row=image * self.tokens, rows=each),
                out=Ref(tensor=packed, row=image * each, rows=each),
            )
        update(b, table.name, table, total)
        b.gradients[layer.x] = packed


def _reads(layer: Layer, name: str) -> bool:
    return name in [getattr(layer, key, None) for key in ("x", "q", "k", "v", "residual")]


def state_of(network: Network) -> Mapping[str, np.ndarray]:
    """Return the parameters by the step's names, in fp32."""
    out: dict[str, np.ndarray] = {}
    for layer in network.layers:
        match layer:
            case Linear():
                out[f"{layer.name}.weight"] = np.ascontiguousarray(layer.weight.T)
                out[f"{layer.name}.bias"] = layer.bias[np.newaxis]
            case Norm():
                out[f"{layer.name}.gain"] = layer.gain[np.newaxis]
                out[f"{layer.name}.offset"] = layer.offset[np.newaxis]
            case Embed():
                out[f"{layer.name}.table"] = layer.table
    return {name: np.asarray(value, dtype=np.float32) for name, value in out.items()}
