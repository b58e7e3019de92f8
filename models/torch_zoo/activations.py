"""How far the largest activations stand out, which is what int8 with one scale suffers from."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moesaic.models.torch_zoo.vit import Block, Vit

QUANTILE = 0.9999


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Largest magnitude of an activation and its 99.99 percentile."""

    largest: float
    percentile: float

    @property
    def ratio(self) -> float:
        """Return the largest magnitude over the percentile; 1 means no outliers."""
        return self.largest / self.percentile


@torch.no_grad()
def activation_spread(model: Vit, images: NDArray[np.float32]) -> dict[str, Spread]:
    """Measure the input of each linear layer and the residual stream behind each block.

    Images are (N, channels, image, image). Keys are module names such as `blocks.0.attn.qkv`; a
    block's own name, `blocks.0`, stands for the stream that leaves it.
    """
    seen: dict[str, Spread] = {}

    def watch(name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            value = output if isinstance(module, Block) else inputs[0]
            size = np.abs(value.numpy())
            percentile = float(np.quantile(size, QUANTILE))
            seen[name] = Spread(largest=float(size.max()), percentile=percentile)

        return hook

    hooks = [
        module.register_forward_hook(watch(name))
        for name, module in model.named_modules()
        if isinstance(module, Block | nn.Linear)
    ]
    try:
        model(torch.from_numpy(np.array(images)))
    finally:
        for hook in hooks:
            hook.remove()
    return seen
