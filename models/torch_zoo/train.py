"""Training a reference network by a recipe, dense or N:M sparse, the same for the same seed."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from moesaic.models.data import MEAN, STD, load_mnist
from moesaic.models.errors import InputError
from moesaic.models.recipes import TrainRecipe
from moesaic.models.torch_zoo.augment import distort
from moesaic.models.torch_zoo.masks import nm_masks, straight_through
from moesaic.models.torch_zoo.optimise import follow, learning_rate, parameter_groups
from moesaic.models.torch_zoo.vit import Vit, build_vit, initialise, predict
from moesaic.models.weights_io import load_weights

BACKGROUND = -MEAN / STD


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One finished epoch: mean loss, top-1 on the hold-out (None without one), seconds so far."""

    epoch: int
    epochs: int
    loss: float
    holdout_top1: float | None
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """The trained network in evaluation mode, each epoch, and the seconds it took."""

    model: Vit
    history: tuple[Progress, ...]
    seconds: float


def top1(model: nn.Module, images: NDArray[np.float32], labels: NDArray[np.int64]) -> float:
    """Return the share of images whose largest logit is the label's, in 0..1."""
    return float((predict(model, images).argmax(axis=1) == labels).mean())


class Trainer:
    """The state of one training run; `epoch` advances it.

    Sparse runs train the full weights through masked copies (straight-through, with a decay on the
    pruned ones: Zhou et al. 2021, SR-STE). `freeze_masks` then settles which weights stay.
    """

    def __init__(self, recipe: TrainRecipe, images: Tensor, labels: Tensor) -> None:
        self.recipe = recipe
        self.images, self.labels = images, labels
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.model = _starting_model(recipe, self.generator).train()
        self.average = {name: p.detach().clone() for name, p in self.model.named_parameters()}
        self.masks: dict[str, Tensor] | None = None
        self.step_count = 0
        self.steps_per_epoch = max(1, len(images) // recipe.batch)
        self.optimiser = torch.optim.AdamW(parameter_groups(self.model, recipe.weight_decay))

    def learning_rate(self) -> float:
        """Return the rate of the coming step."""
        return learning_rate(self.recipe, self.step_count, self.steps_per_epoch)

    def epoch(self) -> float:
        """Go once through the shuffled images and return the mean loss."""
        order = torch.randperm(len(self.images), generator=self.generator)
        batches = order.split(self.recipe.batch)[: self.steps_per_epoch]
        return sum(self.step(batch) for batch in batches) / self.steps_per_epoch

    def step(self, batch: Tensor) -> float:
        """Take one optimiser step on the images of these indices and return the loss."""
        rate = self.learning_rate()
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        images, targets = self._distorted(batch)
        parameters = dict(self.model.named_parameters())
        masks = self._current_masks(parameters)
        used = parameters | {n: straight_through(parameters[n], m) for n, m in masks.items()}
        streams: list[Tensor] = []
        hooks = [
            block.register_forward_hook(lambda _m, _i, out: streams.append(out))
            for block in self.model.blocks
        ]
        loss = functional.cross_entropy(functional_call(self.model, used, (images,)), targets)
        for hook in hooks:
            hook.remove()
        penalty = sum((s**4).mean() for s in streams) * self.recipe.activation_penalty
        self.optimiser.zero_grad()
        (loss + penalty).backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self._after_step(parameters, masks, rate)
        return float(loss.detach())

    @torch.no_grad()
    def _after_step(
        self, parameters: Mapping[str, Tensor], masks: Mapping[str, Tensor], rate: float
    ) -> None:
        """Pull pruned weights towards zero and move the running average."""
        for name, mask in masks.items():
            shrink = 0.0 if self.masks is not None else 1 - rate * self.recipe.prune_decay
            parameters[name].mul_(mask + (1 - mask) * max(shrink, 0.0))
        self.step_count += 1
        follow(self.average, parameters, self.recipe.ema, self.step_count)

    def _current_masks(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the frozen masks, or those of the present magnitudes; none for a dense run."""
        if self.recipe.n_of_m is None:
            return {}
        if self.masks is not None:
            return self.masks
        return nm_masks(parameters, self.recipe.model, *self.recipe.n_of_m)

    @torch.no_grad()
    def freeze_masks(self) -> None:
        """Settle the masks by the averaged weights and zero the pruned ones for good."""
        if self.recipe.n_of_m is None or self.masks is not None:
            return
        self.masks = nm_masks(self.average, self.recipe.model, *self.recipe.n_of_m)
        parameters = dict(self.model.named_parameters())
        for name, mask in self.masks.items():
            parameters[name].mul_(mask)
            self.average[name].mul_(mask)

    def _distorted(self, batch: Tensor) -> tuple[Tensor, Tensor]:
        """Return augmented images and their target distributions (B, classes)."""
        recipe = self.recipe
        images = distort(self.images[batch], recipe.augment, BACKGROUND, self.generator)
        classes = recipe.model.classes
        targets = functional.one_hot(self.labels[batch], classes).to(images.dtype)
        targets = targets * (1 - recipe.label_smoothing) + recipe.label_smoothing / classes
        if recipe.mixup > 0:
            share = torch.rand(len(batch), generator=self.generator) * recipe.mixup / 2
            other = torch.randperm(len(batch), generator=self.generator)
            images = torch.lerp(images, images[other], share[:, None, None, None])
            targets = torch.lerp(targets, targets[other], share[:, None])
        return images, targets

    def averaged_model(self) -> Vit:
        """Return the network of the averaged weights, exactly N:M for a sparse run."""
        weights = {name: value.clone() for name, value in self.average.items()}
        for name, mask in self._current_masks(weights).items():
            weights[name] = torch.where(mask > 0, weights[name], torch.zeros(()))
        return build_vit(self.recipe.model, {name: w.numpy() for name, w in weights.items()})


def _starting_model(recipe: TrainRecipe, generator: torch.Generator) -> Vit:
    """Return a fresh network, or the one that the recipe starts from."""
    if recipe.start is None:
        model = Vit(recipe.model)
        initialise(model, generator)
        return model
    weights, config = load_weights(recipe.start)
    if config != recipe.model:
        raise InputError(f"start must have the recipe's model, but {recipe.start} is {config}")
    return build_vit(config, weights)


def train(
    recipe: TrainRecipe,
    progress: Callable[[Progress], None] | None = None,
    limit: int | None = None,
) -> TrainResult:
    """Train by `recipe`, on the first `limit` training images only where one is given.

    The test images are not touched. The same recipe, machine and thread count give the same bits.
    """
    torch.set_num_threads(recipe.threads)
    split = load_mnist()
    images, labels = split.train_images[:limit], split.train_labels[:limit]
    kept = len(images) - recipe.holdout
    if kept < 1:
        raise InputError(f"holdout must leave images of {len(images)}, not be {recipe.holdout}")
    trainer = Trainer(
        recipe, torch.from_numpy(np.array(images[:kept])), torch.from_numpy(np.array(labels[:kept]))
    )
    history, began = [], time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        if epoch - 1 >= recipe.search_share * recipe.epochs:
            trainer.freeze_masks()
        loss = trainer.epoch()
        held = recipe.holdout and top1(trainer.averaged_model(), images[kept:], labels[kept:])
        seconds = time.perf_counter() - began
        done = Progress(
            epoch=epoch,
            epochs=recipe.epochs,
            loss=loss,
            holdout_top1=held if recipe.holdout else None,
            seconds=seconds,
        )
        history.append(done)
        if progress is not None:
            progress(done)
    trainer.freeze_masks()
    return TrainResult(
        model=trainer.averaged_model(),
        history=tuple(history),
        seconds=time.perf_counter() - began,
    )
