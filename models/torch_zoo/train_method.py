"""Training by a method of `training_method.py`, the same for the same seed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from moesaic.models.conv_config import ConvConfig
from moesaic.models.errors import InputError
from moesaic.models.recipes import MethodRecipe
from moesaic.models.recipes.schema import AugmentSpec
from moesaic.models.small_images import ImageSplit, load_images
from moesaic.models.torch_zoo.augment import distort
from moesaic.models.torch_zoo.convnet import ConvNet, build_convnet, initialise_convnet
from moesaic.models.torch_zoo.optimise import learning_rate, parameter_groups
from moesaic.models.torch_zoo.sparse_layers import SparseTraining
from moesaic.models.torch_zoo.train import Progress, top1
from moesaic.models.torch_zoo.vit import Vit, build_vit, initialise, weights_of
from moesaic.models.vit_config import VitConfig
from moesaic.models.weights_io import Weights


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodResult:
    """What a run makes.

    `weights` are those that the forward uses: exactly N:M where the method prunes it. `master` are
    the dense ones that training would go on with. `model` holds `weights`, in evaluation mode.
    """

    model: nn.Module
    weights: Weights
    master: Weights
    history: tuple[Progress, ...]
    seconds: float


def build(config: ConvConfig | VitConfig, weights: Weights) -> nn.Module:
    """Return a network of either kind in evaluation mode."""
    if isinstance(config, ConvConfig):
        return build_convnet(config, weights)
    return build_vit(config, weights)


class MethodTrainer:
    """The state of one training run; `epoch` advances it."""

    def __init__(self, recipe: MethodRecipe, images: Tensor, labels: Tensor, ground: float) -> None:
        self.recipe, self.ground = recipe, ground
        self.images, self.labels = images, labels
        self.generator = torch.Generator().manual_seed(recipe.seed)
        self.model = _fresh(recipe, self.generator).train()
        layers = recipe.model.weight_layers
        self.sparse = SparseTraining(self.model, recipe.method, layers, seed=recipe.seed)
        self.step_count = 0
        self.steps_per_epoch = max(1, len(images) // recipe.batch)
        groups = parameter_groups(self.model, recipe.weight_decay)
        self.optimiser: torch.optim.Optimizer
        if recipe.optimiser == "sgd":
            self.optimiser = torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum)
        else:
            self.optimiser = torch.optim.AdamW(groups)

    def epoch(self) -> float:
        """Go once through the shuffled images and return the mean loss."""
        order = torch.randperm(len(self.images), generator=self.generator)
        batches = order.split(self.recipe.batch)[: self.steps_per_epoch]
        return sum(self.step(batch) for batch in batches) / self.steps_per_epoch

    def step(self, batch: Tensor) -> float:
        """Take one step on the images of these indices and return the loss."""
        recipe = self.recipe
        rate = learning_rate(recipe, self.step_count, self.steps_per_epoch)
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        images = self.images[batch]
        if recipe.augment != AugmentSpec():
            images = distort(images, recipe.augment, self.ground, self.generator)
        self.sparse.begin(self.step_count)
        loss = functional.cross_entropy(
            self.model(images), self.labels[batch], label_smoothing=recipe.label_smoothing
        )
        value = float(loss.detach())
        if not math.isfinite(value):
            raise InputError(
                f"learning_rate must be smaller than {recipe.learning_rate}: "
                f"the loss is {value} in step {self.step_count}"
            )
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        self.step_count += 1
        return value

    def weights(self) -> tuple[Weights, Weights]:
        """Return the weights that the forward uses, and the dense ones."""
        master = weights_of(self.model)
        pruned = {n: w.numpy().copy() for n, w in self.sparse.forward_weights().items()}
        return master | pruned, master


def _fresh(recipe: MethodRecipe, generator: torch.Generator) -> ConvNet | Vit:
    if isinstance(recipe.model, ConvConfig):
        convnet = ConvNet(recipe.model)
        initialise_convnet(convnet, generator)
        return convnet
    vit = Vit(recipe.model)
    initialise(vit, generator)
    return vit


def train_by_method(
    recipe: MethodRecipe,
    progress: Callable[[Progress], None] | None = None,
    limit: int | None = None,
) -> MethodResult:
    """Train by `recipe`, on the first `limit` training images only where one is given.

    The test images are not touched. The same recipe, machine and thread count give the same bits.
    """
    torch.set_num_threads(recipe.threads)
    split: ImageSplit = load_images(recipe.dataset, recipe.model.image)
    images, labels = split.train_images[:limit], split.train_labels[:limit]
    kept = len(images) - recipe.holdout
    if kept < 1:
        raise InputError(f"holdout must leave images of {len(images)}, not be {recipe.holdout}")
    trainer = MethodTrainer(
        recipe,
        torch.from_numpy(np.array(images[:kept])),
        torch.from_numpy(np.array(labels[:kept])),
        split.background,
    )
    history, began = [], time.perf_counter()
    for epoch in range(1, recipe.epochs + 1):
        loss = trainer.epoch()
        held = None
        if recipe.holdout:
            model = build(recipe.model, trainer.weights()[0])
            held = top1(model, images[kept:], labels[kept:])
        done = Progress(
            epoch=epoch,
            epochs=recipe.epochs,
            loss=loss,
            holdout_top1=held,
            seconds=time.perf_counter() - began,
        )
        history.append(done)
        if progress is not None:
            progress(done)
    weights, master = trainer.weights()
    return MethodResult(
        model=build(recipe.model, weights),
        weights=weights,
        master=master,
        history=tuple(history),
        seconds=time.perf_counter() - began,
    )
