"""The training step of a convolutional network, from its sizes: ResNet9-like or VGG-like.

It does what `models/torch_zoo/convnet.py` does. A tensor has a row for each pixel, image by image
and line by line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from moesaic.models.conv_config import AVERAGE, BRANCH, KERNEL, MAXIMUM, RESIDUAL, ConvConfig
from moesaic.models.errors import InputError
from moesaic.models.training.batch_norm import batch_norm_backward, batch_norm_forward
from moesaic.models.training.builder import Builder, full, whole
from moesaic.models.training.conv import conv_backward, conv_forward
from moesaic.models.training.linear import (
    add_bias,
    input_gradient,
    linear_backward,
    linear_forward,
)
from moesaic.models.training.loss import cross_entropy, overflow
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.passes import Combine
from moesaic.models.training.pixels import Geometry
from moesaic.models.training.pool import (
    average_backward,
    average_forward,
    max_backward,
    max_forward,
    mean_backward,
    mean_forward,
)
from moesaic.models.training.step import ZERO, Kind, Role, Step, Tensor

BATCH_EPSILON = 1e-5
DENSE = Method()
HEAD, MEAN = "head", "mean"
Undo = Callable[[Tensor], Tensor | None]
"""From the gradient of a layer's result to that of its input, None for the image's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A layer's result and the size of its images; convolutions read operands, sums read floats."""

    tensor: Tensor
    geometry: Geometry


class ConvStep:
    """Builds the step layer by layer.

    Parameters
    ----------
    name : str
    config : ConvConfig
    method : Method
        Of the convolutions behind the first; the first and the classifier stay dense.
    optimiser : Optimiser
    batch : int
    """

    def __init__(
        self, name: str, config: ConvConfig, *, method: Method, optimiser: Optimiser, batch: int
    ) -> None:
        if method.update is not None:
            raise InputError(f"{name}: an update of {method.update} is for linear layers alone")
        self.config, self.method, self.batch = config, method, batch
        self.b = Builder(step=Step(name=name), method=method, optimiser=optimiser, batch=batch)
        self.undo: list[Undo] = []
        self.convs = 0

    def build(self) -> Step:
        """Return the step."""
        b, config = self.b, self.config
        rows = self.batch * config.image**2
        image = b.operands("image", rows, config.channels, Role.INPUT)
        x = Images(tensor=image, geometry=self._square(config.image))
        for place, entry in enumerate(config.layers):
            x = self._forward(f"layers.{place}", entry, x)
        gradient: Tensor | None = self._head(x)
        for undo in reversed(self.undo):
            assert gradient is not None
            gradient = undo(gradient)
        overflow(b)
        return b.step

    def _square(self, side: int, stride: int = 1) -> Geometry:
        return Geometry(images=self.batch, height=side, width=side, kernel=KERNEL, stride=stride)

    def _forward(self, name: str, entry: int | str, x: Images) -> Images:
        if isinstance(entry, int):
            out, undo = self._unit(name, x, entry)
            self.undo.append(undo)
            return out
        if entry == RESIDUAL:
            return self._residual(name, x)
        return self._pool(name, entry, x)

    def _unit(self, name: str, x: Images, outputs: int) -> tuple[Images, Undo]:
        """Append convolution, BatchNorm and ReLU; return the result as operands."""
        b, read = self.b, self._operands(x)
        first = self.convs == 0
        self.convs += 1
        matrix = Matrix(
            b=b,
            name=f"{name}.conv",
            outputs=outputs,
            inputs=read.channels,
            method=DENSE if first else self.method,
            wants_input=not first,
            kernel=KERNEL,
        )
        y = conv_forward(b, matrix, read, x.geometry)
        y = batch_norm_forward(b, f"{name}.norm", y, epsilon=BATCH_EPSILON)
        seen = b.operands(f"{name}.relu", y.rows, y.channels)
        b.work(seen.name, y, q=ZERO, how=Combine.MAXIMUM, out=seen)

        def undo(gradient: Tensor) -> Tensor | None:
            inner = batch_norm_backward(b, f"{name}.norm", gradient, seen)
            return conv_backward(b, matrix, read, inner, x.geometry)

        return Images(tensor=seen, geometry=self._square(x.geometry.out_height)), undo

    def _residual(self, name: str, x: Images) -> Images:
        """Append ``x + second(first(x))``, in fp32."""
        b, undos, y = self.b, [], x
        for part in BRANCH:
            y, undo = self._unit(f"{name}.{part}", y, x.tensor.channels)
            undos.append(undo)
        out = b.floats(name, y.tensor.rows, y.tensor.channels)
        b.stage = "forward"
        b.work(name, y.tensor, q=full(self._floats(x)), out=out)

        def back(gradient: Tensor) -> Tensor:
            branch: Tensor | None = gradient
            for undo in reversed(undos):
                assert branch is not None
                branch = undo(branch)
            assert branch is not None
            total = b.floats(f"{name}.gradient", gradient.rows, gradient.channels)
            b.stage = "backward"
            b.work(total.name, branch, q=full(gradient), out=total)
            return total

        self.undo.append(back)
        return Images(tensor=out, geometry=y.geometry)

    def _pool(self, name: str, entry: str, x: Images) -> Images:
        b, read, geometry = self.b, self._operands(x), x.geometry
        if entry == AVERAGE:
            y = average_forward(b, name, read, geometry)
            self.undo.append(lambda g: average_backward(b, name, g, geometry))
        else:
            assert entry == MAXIMUM
            y = max_forward(b, name, read, geometry)
            self.undo.append(lambda g: max_backward(b, name, g, read, geometry))
        return Images(tensor=y, geometry=self._square(geometry.height // 2))

    def _head(self, x: Images) -> Tensor:
        """Append mean, classifier and loss, there and back; return the gradient of `x`."""
        b, side = self.b, x.geometry.height
        pooled = mean_forward(b, MEAN, x.tensor, self.batch)
        matrix = Matrix(
            b=b,
            name=HEAD,
            outputs=self.config.classes,
            inputs=pooled.channels,
            method=DENSE,
            wants_input=True,
        )
        product = linear_forward(b, matrix, whole(pooled))
        logits = b.floats(HEAD, self.batch, self.config.classes)
        add_bias(b, HEAD, product, logits)
        gradient = cross_entropy(b, logits)
        term = linear_backward(b, matrix, whole(pooled), gradient)
        total = input_gradient(b, MEAN, self.batch, [(matrix, term)])
        return mean_backward(b, MEAN, total, side, side)

    def _operands(self, x: Images) -> Tensor:
        """Return a value as products and pools read it."""
        return self._copy(x.tensor, f"{x.tensor.name}.operands", Kind.OPERAND)

    def _floats(self, x: Images) -> Tensor:
        """Return a value as something is added to it."""
        return self._copy(x.tensor, f"{x.tensor.name}.floats", Kind.FLOAT)

    def _copy(self, tensor: Tensor, name: str, kind: Kind) -> Tensor:
        b = self.b
        if tensor.kind == kind:
            return tensor
        if name not in b.step.tensors:
            b.stage = "forward"
            b.work(name, tensor, out=b.step.tensor(name, tensor.rows, tensor.channels, kind))
        return b.step.tensors[name]


def layer_names(config: ConvConfig) -> tuple[str, ...]:
    """Return the names of a network's layers, for accounts."""
    units = [layer.name.removesuffix(".conv") for layer, _ in config.units]
    places = [f"layers.{place}" for place in range(len(config.layers))]
    return (*units, *(name for name in places if name not in units), MEAN, HEAD, "loss")


def conv_state(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return the parameters by the step's names; `weights` are those of a torch module.

    A convolution's (outputs, inputs, kernel, kernel) becomes (taps * outputs, inputs).
    """
    out: dict[str, NDArray[np.float32]] = {}
    for name, value in weights.items():
        layer, _, part = name.rpartition(".")
        if value.ndim == 4:
            out[name] = value.transpose(2, 3, 0, 1).reshape(-1, value.shape[1])
        elif layer == HEAD:
            out[name] = value if part == "weight" else value[np.newaxis]
        elif part in ("weight", "bias"):
            out[f"{layer}.{'gain' if part == 'weight' else 'offset'}"] = value[np.newaxis]
    return {name: np.ascontiguousarray(value, dtype=np.float32) for name, value in out.items()}
