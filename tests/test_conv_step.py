"""Training steps of small convolutional networks: gradients against torch, methods against masks."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from moesaic.models.accel import NM
from moesaic.models.conv_config import ConvConfig
from moesaic.models.float_format import FP16
from moesaic.models.torch_zoo.convnet import ConvNet
from moesaic.models.training.conv_step import conv_state
from moesaic.models.training.execute import Machine, Value
from moesaic.models.training.method import METHODS, Method
from tests.conv_cases import BATCH, CONFIGS, RESNET, conv_given, conv_step, conv_weights

Floats = NDArray[np.float32]


def run(config: ConvConfig, method: Method) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return what a step was given, and all that came out."""
    step = conv_step(config, method)
    given = conv_given(config, step)
    return given, Machine(fmt=FP16, rows=8, lanes=8).run(step, given)


def torch_gradients(
    config: ConvConfig, given: Mapping[str, Value]
) -> tuple[float, dict[str, Floats]]:
    """Return loss and gradients of the torch module in float32, by autograd."""
    model = ConvNet(config).train()
    model.load_state_dict(
        {name: torch.from_numpy(value) for name, value in conv_weights(config).items()},
        strict=False,
    )
    rows = np.asarray(given["image"]).view(np.float16).astype(np.float32)
    images = rows.reshape(BATCH, config.image, config.image, config.channels)
    labels = torch.tensor(-np.asarray(given["labels"])).argmax(1)
    logits = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    found = {
        name: p.grad.contiguous().numpy()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    return loss.item(), conv_state(found)


@pytest.mark.parametrize("name", CONFIGS)
def test_dense_gradients_are_those_of_autograd(name: str) -> None:
    config = CONFIGS[name]
    given, found = run(config, Method())
    loss, gradients = torch_gradients(config, given)
    assert abs(float(np.asarray(found["loss"])[0, 0]) - loss) < 3e-3 * loss
    largest = max(float(np.abs(g).max()) for g in gradients.values())
    for parameter, gradient in gradients.items():
        # the first momentum is the gradient
        error = np.abs(np.asarray(found[f"{parameter}.momentum.next"]) - gradient).max()
        assert error < 0.03 * max(float(np.abs(gradient).max()), 0.01 * largest), parameter
