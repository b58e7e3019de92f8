"""From a recipe with a method to a trained network, measured once on the test images."""

import re
from collections.abc import Callable
from dataclasses import asdict, replace

from moesaic.models.data import CALIBRATION
from moesaic.models.network import Linear, Network
from moesaic.models.recipes import MethodRecipe
from moesaic.models.small_images import MNIST, load_images
from moesaic.models.torch_zoo.made import Made, Show
from moesaic.models.torch_zoo.train import Progress, top1
from moesaic.models.torch_zoo.train_method import train_by_method
from moesaic.models.vit_config import VitConfig
from moesaic.models.weights_io import Weights
from moesaic.models.zoo import CALIBRATION as BY_CALIBRATION
from moesaic.models.zoo import CONVNET_FILE, VIT_FILE
from moesaic.models.zoo_vit import vit_network

_PART = re.compile(r"\.attn\.[qkv]$")  # the network has qkv in three


def make_by_method(recipe: MethodRecipe, show: Show) -> Made:
    """Train by `recipe` and measure once."""
    result = train_by_method(recipe, told(show))
    split = load_images(recipe.dataset, recipe.model.image)
    accuracy = top1(result.model, split.test_images, split.test_labels)
    images, network, calibration = len(split.test_labels), None, None
    if isinstance(recipe.model, VitConfig):
        network = _network(recipe, recipe.model, result.weights)
        if network.labels["dataset"] != MNIST:
            calibration = split.train_images[:CALIBRATION]
    return Made(
        network=network,
        weights=result.weights,
        config=recipe.model,
        weights_file=CONVNET_FILE if network is None else VIT_FILE,
        text=f"top-1 {accuracy:.2%} of {images} test images, {result.seconds:.0f} s",
        training={
            "recipe": asdict(recipe),
            "history": [asdict(done) for done in result.history],
            "seconds": result.seconds,
            "accuracy": {"metric": "top1", "float": accuracy, "images": images},
        },
        master=result.master,
        calibration=calibration,
    )


def told(show: Show) -> Callable[[Progress], None]:
    """Return what shows an epoch as a line."""

    def tell(done: Progress) -> None:
        held = "" if done.holdout_top1 is None else f"  hold-out {done.holdout_top1:.2%}"
        show(done.epoch, done.epochs, f"loss {done.loss:.4f}{held}  {done.seconds:.0f} s")

    return tell


def _network(recipe: MethodRecipe, config: VitConfig, weights: Weights) -> Network:
    """Return the float network; layers that the forward prunes say so."""
    rules = recipe.method.rules(config.weight_layers)
    network = vit_network(recipe.name, weights, heads=config.heads)
    layers = tuple(
        replace(layer, nm=rules[_PART.sub(".attn.qkv", layer.name)].forward)
        if isinstance(layer, Linear)
        else layer
        for layer in network.layers
    )
    runs_on_mnist = recipe.dataset == MNIST and config.image == 28
    labels = {"dataset": MNIST if runs_on_mnist else BY_CALIBRATION}
    return replace(network, layers=layers, labels=labels)
