"""From a recipe to a trained network, measured once on the test images."""

from dataclasses import asdict, replace

from moesaic.models.accel import NM
from moesaic.models.canvases import TEST, make_canvases
from moesaic.models.data import load_mnist
from moesaic.models.recipes import CanvasRecipe, MethodRecipe, TrainRecipe
from moesaic.models.torch_zoo.made import Made, Show
from moesaic.models.torch_zoo.make_method import make_by_method, told
from moesaic.models.torch_zoo.train import top1, train
from moesaic.models.torch_zoo.train_canvas import (
    CanvasProgress,
    canvas_layer,
    measure,
    train_on_canvases,
)
from moesaic.models.torch_zoo.vit import weights_of
from moesaic.models.zoo import TASKS_FILE, TEST_CANVASES, VIT_FILE
from moesaic.models.zoo_moe import moe_network
from moesaic.models.zoo_vit import vit_network


def make(recipe: TrainRecipe | CanvasRecipe | MethodRecipe, show: Show) -> Made:
    """Train by `recipe` and measure once."""
    if isinstance(recipe, CanvasRecipe):
        return _make_on_canvases(recipe, show)
    if isinstance(recipe, MethodRecipe):
        return make_by_method(recipe, show)
    return _make_on_digits(recipe, show)


def _make_on_digits(recipe: TrainRecipe, show: Show) -> Made:
    result = train(recipe, told(show))
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
    def tell(done: CanvasProgress) -> None:
        held = ""
        if done.holdout_accuracy is not None:
            held = f"  hold-out {done.holdout_accuracy:.2%} {done.holdout_rmse:.3f}"
        show(done.epoch, done.epochs, f"loss {done.loss:.4f}{held}  {done.seconds:.0f} s")

    result = train_on_canvases(recipe, tell)
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
