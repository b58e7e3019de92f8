"""`moesaic list`: what ships, a line each."""

import argparse
from itertools import takewhile
from pathlib import Path

from moesaic.models.accel_io import PRESETS, preset_names
from moesaic.models.recipes.load import RECIPES, recipe_names
from moesaic.models.zoo import MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def execute(_options: argparse.Namespace) -> int:
    """Print models, presets, recipes and sweeps."""
    presets = {name: _first_sentence(PRESETS / f"{name}.yaml") for name in preset_names()}
    recipes = {name: _first_sentence(RECIPES / f"{name}.yaml") for name in recipe_names()}
    width = max(map(len, (*MODELS, *presets, *recipes)))
    for title, entries in (("models", MODELS), ("accelerators", presets), ("recipes", recipes)):
        print(f"{title}:")
        for name, text in entries.items():
            print(f"  {name:<{width}}  {text}")
    print("sweeps:\n  none ship with this version")
    return 0


def _first_sentence(file: Path) -> str:
    """Return what a preset's or a recipe's file says about itself."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment).split(". ")[0].rstrip(".")
