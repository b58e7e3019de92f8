"""Train one recipe and write its weights: python -m moesaic.models.torch_zoo RECIPE --out DIR."""

import argparse
import sys
from pathlib import Path

from moesaic.models.data import load_mnist
from moesaic.models.errors import InputError
from moesaic.models.recipes import load_recipe
from moesaic.models.torch_zoo.train import Progress, top1, train
from moesaic.models.torch_zoo.vit import weights_of
from moesaic.models.weights_io import save_weights


def report(done: Progress) -> None:
    """Print one line for a finished epoch."""
    held = "" if done.holdout_top1 is None else f"  hold-out {done.holdout_top1:.2%}"
    line = f"epoch {done.epoch}/{done.epochs}  loss {done.loss:.4f}{held}  {done.seconds:.0f} s"
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> int:
    """Train, save, and measure once on the test images."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.models.torch_zoo", description=__doc__)
    parser.add_argument("recipe", help="the name of a shipped recipe, or a YAML file")
    parser.add_argument("--out", type=Path, required=True, help="folder for NAME.npz")
    options = parser.parse_args()
    try:
        recipe = load_recipe(options.recipe)
        options.out.mkdir(parents=True, exist_ok=True)
        result = train(recipe, report)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    target = options.out / f"{recipe.name}.npz"
    save_weights(target, weights_of(result.model), recipe.model)
    split = load_mnist()
    accuracy = top1(result.model, split.test_images, split.test_labels)
    images = len(split.test_labels)
    sys.stdout.write(f"{target}: top-1 {accuracy:.2%} of {images}, {result.seconds:.0f} s\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
