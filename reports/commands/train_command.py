"""`moesaic train`: a reference model by a recipe."""

import argparse
import json
import tempfile
from pathlib import Path

from moesaic.reports.arguments import path
from moesaic.reports.files import check_directory

TRAINING_FILE = "training.json"


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

    from moesaic.models.torch_zoo.make import make
    from moesaic.models.weights_io import save_weights
    from moesaic.reports.progress import counted_progress

    with counted_progress("epoch") as counter:
        made = make(recipe, counter.show)
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        archive = Path(folder, made.weights_file)
        save_weights(archive, made.weights, made.config)
        files = {
            TRAINING_FILE: json.dumps(made.training, indent=1).encode(),
            made.weights_file: archive.read_bytes(),
        }
    save_network(made.network, options.out, files)
    print(f"{recipe.name}: {made.text}")
    print(f"written to {options.out}: moesaic run {options.out} --accel tiny")
    return 0
