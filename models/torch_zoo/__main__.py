"""Train one recipe and write its weights: python -m moesaic.models.torch_zoo RECIPE --out DIR."""

import argparse
import sys
from pathlib import Path

from moesaic.models.errors import InputError
from moesaic.models.recipes import load_recipe
from moesaic.models.torch_zoo.make import make
from moesaic.models.weights_io import save_weights


def report(epoch: int, epochs: int, text: str) -> None:
    """Print one line for a finished epoch."""
    sys.stdout.write(f"epoch {epoch}/{epochs}  {text}\n")
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
        made = make(recipe, report)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    target = options.out / f"{recipe.name}.npz"
    save_weights(target, made.weights, made.config)
    sys.stdout.write(f"{target}: {made.text}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
