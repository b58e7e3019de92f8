"""What all training runs share: the rate of each step, weight decay, the average of the weights."""

import math
from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

EMA_WARMUP = 10
_UNDECAYED = ("cls_token", "pos_embed")


class Schedule(Protocol):
    """The fields of a recipe that say how the learning rate goes."""

    @property
    def epochs(self) -> int:
        """Epochs."""

    @property
    def warmup_epochs(self) -> float:
        """Epochs of linear warm-up."""

    @property
    def learning_rate(self) -> float:
        """The largest rate."""


def learning_rate(recipe: Schedule, step: int, steps_per_epoch: int) -> float:
    """Return the rate of step `step`: linear warm-up, then a cosine to zero."""
    warmup = recipe.warmup_epochs * steps_per_epoch
    total = recipe.epochs * steps_per_epoch
    if step < warmup:
        return recipe.learning_rate * (step + 1) / (warmup + 1)
    done = (step - warmup) / max(1.0, total - warmup)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Decay matrices only, not norms, biases and embeddings."""
    matrices: list[Tensor] = []
    rest: list[Tensor] = []
    for name, parameter in model.named_parameters():
        decays = parameter.ndim > 1 and name not in _UNDECAYED and not name.endswith("bias")
        (matrices if decays else rest).append(parameter)
    return [
        {"params": matrices, "weight_decay": weight_decay},
        {"params": rest, "weight_decay": 0.0},
    ]


@torch.no_grad()
def follow(
    average: Mapping[str, Tensor], parameters: Mapping[str, Tensor], ema: float, step: int
) -> None:
    """Move the running average of the weights towards those after step `step`, from 1."""
    keep = min(ema, step / (step + EMA_WARMUP))
    for name, parameter in parameters.items():
        average[name].lerp_(parameter, 1 - keep)
