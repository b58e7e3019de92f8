"""Training on canvases, both tasks at once, the same for the same seed."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from moesaic.models.accuracy import patch_accuracy, rmse
from moesaic.models.canvases import TRAIN, CanvasSet, make_canvases
from moesaic.models.moe_config import MoeVitConfig
from moesaic.models.network import Image
from moesaic.models.recipes import CanvasRecipe
from moesaic.models.torch_zoo.moe import (
    Balance,
    MoeVit,
    build_moe_vit,
    initialise,
    predict_task,
)
from moesaic.models.torch_zoo.optimise import follow, learning_rate, parameter_groups

TRAIN_SEED, HOLDOUT_SEED = 1, 2  # of canvases; 0 is for calibration and test


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasProgress:
    """One finished epoch: mean losses, results on the hold-out (None without one), seconds."""

    epoch: int
    epochs: int
    loss: float
    gate_loss: float
    holdout_accuracy: float | None
    holdout_rmse: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasResult:
    """The trained network in evaluation mode, each epoch, and the seconds it took."""

    model: MoeVit
    history: tuple[CanvasProgress, ...]
    seconds: float


def canvas_layer(config: MoeVitConfig) -> Image:
    """Return the input layer whose canvases `config` takes."""
    return Image(
        name="image",
        channels=config.channels,
        height=config.height,
        width=config.width,
        patch=config.patch,
    )


def measure(model: MoeVit, canvases: CanvasSet) -> tuple[float, float]:
    """Return patch accuracy of task 0, in 0..1, and root mean squared error of task 1."""
    digits, depths = (predict_task(model, canvases.images, task) for task in (0, 1))
    return patch_accuracy(digits, canvases.digits), rmse(depths, canvases.depths)


class CanvasTrainer:
    """The state of one training run; `epoch` advances it."""

    def __init__(self, recipe: CanvasRecipe) -> None:
        self.recipe = recipe
        self.layer = canvas_layer(recipe.model)
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.model = MoeVit(recipe.model).train()
        initialise(self.model, self.generator)
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.step_count = 0
        self.steps_per_epoch = max(1, recipe.canvases // recipe.batch)
        self.optimiser = torch.optim.AdamW(parameter_groups(self.model, recipe.weight_decay))

    def epoch(self) -> tuple[float, float]:
        """Take one epoch of new canvases; return the mean losses of the tasks and of the gates."""
        losses = np.zeros(2)
        for _ in range(self.steps_per_epoch):
            losses += self.step()
        return float(losses[0]) / self.steps_per_epoch, float(losses[1]) / self.steps_per_epoch

    def step(self) -> NDArray[np.float64]:
        """Take one optimiser step on a batch of new canvases; return both losses."""
        recipe = self.recipe
        rate = learning_rate(recipe, self.step_count, self.steps_per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        canvases = make_canvases(
            self.layer,
            TRAIN,
            recipe.batch,
            seed=TRAIN_SEED,
            first=self.step_count * recipe.batch,
        )
        balance = Balance(generator=self.generator, noise=recipe.gate_noise)
        results, streams = self.model.all_tasks(torch.from_numpy(canvases.images), balance)
        loss = self._task_loss(results, canvases)
        gates = torch.stack(balance.losses).mean() if balance.losses else torch.zeros(())
        penalty = sum((s**4).mean() for s in streams) * recipe.activation_penalty
        self.optimiser.zero_grad()
        (loss + recipe.balance * gates + penalty).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.step_count += 1
        follow(self.average, dict(self.model.named_parameters()), recipe.ema, self.step_count)
        return np.array([float(loss.detach()), float(gates.detach())])

    def _task_loss(self, results: list[Tensor], canvases: CanvasSet) -> Tensor:
        """Return the weighed sum of both tasks' losses over patches; a class token has no label."""
        digits, depths = (result[:, : self.recipe.model.patches] for result in results)
        labels = torch.from_numpy(canvases.digits)
        digit_loss = functional.cross_entropy(digits.flatten(0, 1), labels.flatten())
        depth_loss = functional.mse_loss(depths[..., 0], torch.from_numpy(canvases.depths))
        return self.recipe.digit_weight * digit_loss + self.recipe.depth_weight * depth_loss

    def averaged_model(self) -> MoeVit:
        """Return the network of the averaged weights."""
        weights = {name: value.numpy().copy() for name, value in self.average.items()}
        return build_moe_vit(self.recipe.model, weights)


def train_on_canvases(
    recipe: CanvasRecipe, progress: Callable[[CanvasProgress], None] | None = None
) -> CanvasResult:
    """Train by `recipe`; test digits are not touched.

    The same recipe, machine and thread count give the same bits.
    """
    torch.set_num_threads(recipe.threads)
    trainer = CanvasTrainer(recipe)
    held = None
    if recipe.holdout:
        held = make_canvases(trainer.layer, TRAIN, recipe.holdout, seed=HOLDOUT_SEED)
    history, began = [], time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        loss, gate_loss = trainer.epoch()
        scores = None if held is None else measure(trainer.averaged_model(), held)
        done = CanvasProgress(
            epoch=epoch,
            epochs=recipe.epochs,
            loss=loss,
            gate_loss=gate_loss,
            holdout_accuracy=None if scores is None else scores[0],
            holdout_rmse=None if scores is None else scores[1],
            seconds=time.perf_counter() - began,
        )
        history.append(done)
        if progress is not None:
            progress(done)
    return CanvasResult(
        model=trainer.averaged_model(),
        history=tuple(history),
        seconds=time.perf_counter() - began,
    )
