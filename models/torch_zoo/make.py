"""From a recipe to a trained network, measured once on the test images."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

from moesaic.models.accel import NM
from moesaic.models.canvases import TEST, make_canvases
from moesaic.models.data import load_mnist
from moesaic.models.network import Network
from moesaic.models.recipes import CanvasRecipe, TrainRecipe
from moesaic.models.torch_zoo.train import Progress, top1, train
from moesaic.models.torch_zoo.train_canvas import (
    CanvasProgress,
    canvas_layer,
    measure,
    train_on_canvases,
)
from moesaic.models.torch_zoo.vit import weights_of
from moesaic.models.weights_io import Config, Weights
from moesaic.models.zoo import TASKS_FILE, TEST_CANVASES
from moesaic.models.zoo_moe import moe_network
from moesaic.models.zoo_vit import vit_network

VIT_FILE = "vit.npz"
Show = Callable[[int, int, str], None]
"""Called after each epoch with its number, their count and a text."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A trained network.

    `network` is that of task 0 where there are several; `weights` are all, to be kept as
    `weights_file`; `text` states the result on the test images, `training` everything.
    """

    network: Network
    weights: Weights
    config: Config
    weights_file: str
    text: str
    training: dict[str, Any]


def make(recipe: TrainRecipe | CanvasRecipe, show: Show) -> Made:
    """Train by `recipe` and measure once."""
    if isinstance(recipe, CanvasRecipe):
        return _make_on_canvases(recipe, show)
    return _make_on_digits(recipe, show)


def _make_on_digits(recipe: TrainRecipe, show: Show) -> Made:
    def told(done: Progress) -> None:
        held = "" if done.holdout_top1 is None else f"  hold-out {done.holdout_top1:.2%}"
        show(done.epoch, done.epochs, f"loss {done.loss:.4f}{held}  {done.seconds:.0f} s")

    result = train(recipe, told)
    split, weights = load_mnist(), weights_of(result.model)
    accuracy = top1(result.model, split.test_images, split.test_labels)
    nm = None if recipe.nm is None else NM.parse(recipe.nm)
    network = vit_network(recipe.name, weights, heads=recipe.model.heads, nm=nm)
    images = len(split.test_labels)
    return Made(
        network=replace(network, labels={"dataset": recipe.dataset}),
        weights=weights,
        config=recipe.model,
        weights_file=VIT_FILE,
        text=f"top-1 {accuracy:.2%} of {images} test images, {result.seconds:.0f} s",
        training={
            "recipe": asdict(recipe),
            "history": [asdict(done) for done in result.history],
            "seconds": result.seconds,
            "accuracy": {"metric": "top1", "float": accuracy, "images": images},
        },
    )


def _make_on_canvases(recipe: CanvasRecipe, show: Show) -> Made:
    def told(done: CanvasProgress) -> None:
        held = ""
        if done.holdout_accuracy is not None:
            held = f"  hold-out {done.holdout_accuracy:.2%} {done.holdout_rmse:.3f}"
        show(done.epoch, done.epochs, f"loss {done.loss:.4f}{held}  {done.seconds:.0f} s")

    result = train_on_canvases(recipe, told)
    weights = weights_of(result.model)
    canvases = make_canvases(canvas_layer(recipe.model), TEST, TEST_CANVASES)
    accuracy, error = measure(result.model, canvases)
    network = moe_network(recipe.name, weights, recipe.model)
    text = f"patch accuracy {accuracy:.2%}, depth's rmse {error:.4f} of {TEST_CANVASES} canvases"
    return Made(
        network=replace(network, labels={"dataset": recipe.dataset}),
        weights=weights,
        config=recipe.model,
        weights_file=TASKS_FILE,
        text=f"{text}, {result.seconds:.0f} s",
        training={
            "recipe": asdict(recipe),
            "history": [asdict(done) for done in result.history],
            "seconds": result.seconds,
            "tasks": [
                {"metric": "accuracy", "float": accuracy, "images": TEST_CANVASES},
                {"metric": "rmse", "float": error, "images": TEST_CANVASES},
            ],
        },
    )
