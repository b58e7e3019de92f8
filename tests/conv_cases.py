"""Small convolutional networks, their steps and inputs, for tests of training."""

from dataclasses import replace
from typing import Any

import numpy as np

from moesaic.models.conv_config import AVERAGE, MAXIMUM, RESIDUAL, ConvConfig
from moesaic.models.float_arithmetic import Floats, encode
from moesaic.models.float_format import FORMATS
from moesaic.models.seeded_conv import seeded_conv_weights
from moesaic.models.training.builder import Builder
from moesaic.models.training.conv import Pending, conv_backward, conv_forward
from moesaic.models.training.conv_step import ConvStep, conv_state
from moesaic.models.training.execute import Value
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.pixels import Geometry
from moesaic.models.training.state import first_state, pixel_inputs
from moesaic.models.training.step import Role, Step
from moesaic.models.weights_io import Weights

BATCH = 3
RESNET = ConvConfig(image=8, channels=1, layers=(8, AVERAGE, RESIDUAL, 16, AVERAGE, 16), classes=5)
VGG = ConvConfig(image=8, channels=3, layers=(8, MAXIMUM, 16, 8, MAXIMUM, 16), classes=5)
CONFIGS = {"resnet": RESNET, "vgg": VGG}


def conv_weights(config: ConvConfig, seed: int = 0) -> Weights:
    """Return random weights, those of the norms too."""
    rng = np.random.default_rng(seed + 1)
    weights = seeded_conv_weights(config, seed)
    for name, value in weights.items():
        if value.ndim == 1 and ".running_" not in name:
            weights[name] = (value + rng.normal(0, 0.2, value.shape)).astype(np.float32)
    return weights


def conv_step(config: ConvConfig, method: Method, batch: int = BATCH, **changes: Any) -> Step:
    """Return the step of a network; without weight decay unless `changes` say so."""
    optimiser = replace(Optimiser(decay=0.0, loss_scale=64.0), **changes)
    return ConvStep("small", config, method=method, optimiser=optimiser, batch=batch).build()


def conv_given(
    config: ConvConfig, step: Step, numbers: str = "fp16", seed: int = 2
) -> dict[str, Value]:
    """Return state and inputs of a first step."""
    rng, fmt = np.random.default_rng(seed), FORMATS[numbers]
    batch = step.tensors["labels"].rows
    shape = (batch, config.channels, config.image, config.image)
    images = rng.normal(0, 1, shape).astype(np.float32)
    labels = rng.integers(0, config.classes, batch)
    state = first_state(step, conv_state(conv_weights(config)), fmt)
    return state | pixel_inputs(step, images, labels, fmt)


GEOMETRIES = {
    "stride-1": Geometry(images=3, height=5, width=4),
    "stride-2": Geometry(images=2, height=6, width=4, stride=2),
    "stride-2-odd": Geometry(images=2, height=5, width=7, stride=2),
    "stride-2-point": Geometry(images=2, height=4, width=4, kernel=1, stride=2),
    "long-lines": Geometry(images=2, height=3, width=19),
}
INPUTS, OUTPUTS = 16, 8


def lone_conv(
    geometry: Geometry, method: Method, numbers: str = "fp16", seed: int = 0
) -> tuple[Step, dict[str, Value]]:
    """Return a step of one convolution whose output's gradient is given, and what it is given."""
    step, fmt = Step(name="lone"), FORMATS[numbers]
    b = Builder(step=step, method=method, optimiser=Optimiser(decay=0.0), batch=geometry.images)
    x = b.operands("x", geometry.rows, INPUTS, Role.INPUT)
    g = b.floats("g", geometry.out_rows, OUTPUTS, Role.INPUT)
    matrix = Matrix(
        b=b,
        name="conv",
        outputs=OUTPUTS,
        inputs=INPUTS,
        method=method,
        wants_input=True,
        kernel=geometry.kernel,
    )
    conv_forward(b, matrix, x, geometry)
    conv_backward(b, matrix, x, Pending(a=g), geometry)
    rng = np.random.default_rng(seed)

    def normal(rows: int, channels: int) -> Floats:
        return rng.normal(0, 1, (rows, channels)).astype(np.float32)

    given = first_state(step, {"conv.weight": normal(matrix.weight.rows, INPUTS)}, fmt)
    given["x"] = encode(normal(x.rows, INPUTS), fmt)
    return step, given | {"g": normal(g.rows, OUTPUTS)}
