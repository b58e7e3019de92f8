"""Small convolutional networks, their steps and inputs, for tests of training."""

import numpy as np

from moesaic.models.conv_config import AVERAGE, MAXIMUM, RESIDUAL, ConvConfig
from moesaic.models.float_format import FORMATS
from moesaic.models.seeded_conv import seeded_conv_weights
from moesaic.models.training.conv_step import ConvStep, conv_state
from moesaic.models.training.execute import Value
from moesaic.models.training.method import Method, Optimiser
from moesaic.models.training.state import first_state, pixel_inputs
from moesaic.models.training.step import Step
from moesaic.models.weights_io import Weights

BATCH = 3
RESNET = ConvConfig(
    image=8, channels=1, layers=(8, AVERAGE, RESIDUAL, 16, AVERAGE, 16), classes=5
)
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


def conv_step(config: ConvConfig, method: Method, batch: int = BATCH, **changes: float) -> Step:
    """Return the step of a network; without weight decay unless `changes` say so."""
    optimiser = Optimiser(**({"decay": 0.0, "loss_scale": 64.0} | changes))
    return ConvStep("small", config, method=method, optimiser=optimiser, batch=batch).build()


def conv_given(
    config: ConvConfig, step: Step, numbers: str = "fp16", seed: int = 1
) -> dict[str, Value]:
    """Return state and inputs of a first step."""
    rng, fmt = np.random.default_rng(seed), FORMATS[numbers]
    batch = step.tensors["labels"].rows
    shape = (batch, config.channels, config.image, config.image)
    images = rng.normal(0, 1, shape).astype(np.float32)
    labels = rng.integers(0, config.classes, batch)
    state = first_state(step, conv_state(conv_weights(config)), fmt)
    return state | pixel_inputs(step, images, labels, fmt)
