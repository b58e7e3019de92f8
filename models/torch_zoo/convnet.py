"""Convolutional networks of `ConvConfig`: normalisation and pooling that a small machine can train.

BatchNorm over the batch's pixels: on (pixels, channels) matrices it takes sums of columns, and the
two sums that its backward needs, of dY and of dY·x̂, are the gradients of its own offset and gain.
Running statistics are for evaluation only and take no part in a step. An average of 2 by 2 pixels
hands a quarter of its gradient to each, which is exact; ``max`` gives it to the first of the
largest, row by row.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from moesaic.models.conv_config import AVERAGE, BRANCH, KERNEL, MAXIMUM, ConvConfig, Entry

BATCH_EPS = 1e-5


class Unit(nn.Module):
    """Convolution, BatchNorm, ReLU: (B, inputs, H, W) to (B, outputs, H, W)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, KERNEL, padding=KERNEL // 2, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=BATCH_EPS, momentum=0.1)
        self.norm.num_batches_tracked = None  # counts for averages that are not running

    def forward(self, x: Tensor) -> Tensor:
        """Work on `x`."""
        return functional.relu(self.norm(self.conv(x)))


class Residual(nn.Module):
    """``x + second(first(x))`` of two units; the shape stays."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        for name in BRANCH:
            setattr(self, name, Unit(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        """Add the branch to `x`."""
        branch = x
        for name in BRANCH:
            branch = getattr(self, name)(branch)
        return x + branch


def _layer(entry: Entry, inputs: int) -> nn.Module:
    if isinstance(entry, int):
        return Unit(inputs, entry)
    pools = {AVERAGE: nn.AvgPool2d(2), MAXIMUM: nn.MaxPool2d(2)}
    return pools.get(entry) or Residual(inputs)


class ConvNet(nn.Module):
    """Images (B, channels, image, image) to logits (B, classes)."""

    def __init__(self, config: ConvConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList()
        inputs = config.channels
        for entry in config.layers:
            self.layers.append(_layer(entry, inputs))
            inputs = entry if isinstance(entry, int) else inputs
        self.head = nn.Linear(inputs, config.classes)
        for parameter in self.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images `x`."""
        x = x.contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            x = layer(x)
        return self.head(x.mean((2, 3)))


def initialise_convnet(model: ConvNet, generator: Generator) -> None:
    """Draw fresh weights: normal for ReLU (He et al. 2015, arXiv 1502.01852), Xavier at the end."""
    for name, parameter in model.named_parameters():
        if "norm" in name:
            nn.init.constant_(parameter, float(name.endswith("weight")))
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.startswith("head"):
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=generator)


def build_convnet(config: ConvConfig, weights: Mapping[str, NDArray[np.float32]]) -> ConvNet:
    """Return the network in evaluation mode holding `weights`, as `load_weights_of` gives them."""
    model = ConvNet(config)
    state = model.state_dict()
    if set(state) != set(weights):
        raise ValueError(f"weights must be {sorted(state)}, not {sorted(weights)}")
    for name, value in state.items():  # load_state_dict would ask for num_batches_tracked
        value.copy_(torch.from_numpy(np.array(weights[name])))
    return model.eval()
