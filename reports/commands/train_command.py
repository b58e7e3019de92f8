"""`moesaic train`: a reference model by a recipe."""

import argparse
import io
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moesaic.reports.arguments import path
from moesaic.reports.files import check_directory, new_directory
from moesaic.reports.training_record import TRAINING_FILE

if TYPE_CHECKING:
    from moesaic.models.torch_zoo.made import Made


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "recipe", metavar="RECIPE", help="a name from `moesaic list`, or a YAML file"
    )
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="the MODEL to make")


def execute(options: argparse.Namespace) -> int:
    """Train, measure once on the test images, write the directory."""
    from moesaic.models.network_io import JSON_FILE, save_network
    from moesaic.models.recipes import MethodRecipe, load_recipe
    from moesaic.models.vit_config import VitConfig
    from moesaic.models.zoo import CONVNET_FILE

    recipe = load_recipe(options.recipe)
    convolutional = isinstance(recipe, MethodRecipe) and not isinstance(recipe.model, VitConfig)
    check_directory(options.out, "--out", CONVNET_FILE if convolutional else JSON_FILE)

    from moesaic.models.torch_zoo.make import make
    from moesaic.reports.progress import counted_progress

    with counted_progress("epoch") as counter:
        made = make(recipe, counter.show)
    files = made_files(made)
    print(f"{recipe.name}: {made.text}")
    if made.network is None:
        with new_directory(options.out) as folder:
            for name, content in files.items():
                Path(folder, name).write_bytes(content)
        print(f"written to {options.out}")
    else:
        save_network(made.network, options.out, files)
        print(f"written to {options.out}: moesaic run {options.out} --accel tiny")
    return 0


def made_files(made: "Made") -> dict[str, bytes]:
    """Return what lies beside the network: how it was trained, its weights, images for scales."""
    from moesaic.models.weights_io import save_weights
    from moesaic.models.zoo import CALIBRATION_FILE, MASTER_FILE

    files = {TRAINING_FILE: json.dumps(made.training, indent=1).encode()}
    archives = {made.weights_file: made.weights}
    if made.master is not None:
        archives[MASTER_FILE] = made.master
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        for name, weights in archives.items():
            save_weights(Path(folder, name), weights, made.config)
            files[name] = Path(folder, name).read_bytes()
    if made.calibration is not None:
        content = io.BytesIO()
        np.save(content, made.calibration)
        files[CALIBRATION_FILE] = content.getvalue()
    return files
