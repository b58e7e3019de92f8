"""`moesaic train`: a reference model by a recipe, dense or sparse."""

import argparse
import json
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from moesaic.reports.arguments import path
from moesaic.reports.files import check_directory

TRAINING_FILE, VIT_FILE = "training.json", "vit.npz"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a name from `moesaic list`, or a YAML file"
    )
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the MODEL to make")


def execute(options: argparse.Namespace) -> int:
    """Train, measure once on the test images, write the directory."""
    from moesaic.models.network_io import JSON_FILE, save_network
    from moesaic.models.recipes import load_recipe

    recipe = load_recipe(options.recipe)
    check_directory(options.out, "--out", JSON_FILE)

    from dataclasses import replace

    from moesaic.models.accel import NM
    from moesaic.models.data import load_mnist
    from moesaic.models.torch_zoo.train import Progress, top1, train
    from moesaic.models.torch_zoo.vit import weights_of
    from moesaic.models.weights_io import save_weights
    from moesaic.models.zoo_vit import vit_network
    from moesaic.reports.progress import counted_progress

    with counted_progress("epoch") as counter:

        def show(done: Progress) -> None:
            held = "" if done.holdout_top1 is None else f"  hold-out {done.holdout_top1:.2%}"
            text = f"loss {done.loss:.4f}{held}  {done.seconds:.0f} s"
            counter.show(done.epoch, done.epochs, text)

        result = train(recipe, show)
    split, weights = load_mnist(), weights_of(result.model)
    accuracy = top1(result.model, split.test_images, split.test_labels)
    nm = None if recipe.nm is None else NM.parse(recipe.nm)
    network = vit_network(recipe.name, weights, heads=recipe.model.heads, nm=nm)
    training: dict[str, Any] = {
        "recipe": asdict(recipe),
        "history": [asdict(done) for done in result.history],
        "seconds": result.seconds,
        "accuracy": {"metric": "top1", "float": accuracy, "images": len(split.test_labels)},
    }
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        archive = Path(folder, VIT_FILE)
        save_weights(archive, weights, recipe.model)
        files = {
            TRAINING_FILE: json.dumps(training, indent=1).encode(),
            VIT_FILE: archive.read_bytes(),
        }
    save_network(replace(network, labels={"dataset": recipe.dataset}), options.out, files)
    print(f"{recipe.name}: top-1 {accuracy:.2%} of {len(split.test_labels)} test images")
    print(f"written to {options.out}: moesaic run {options.out} --accel tiny")
    return 0
