"""`moesaic list`: what ships, a line each."""

import argparse
from itertools import takewhile
from pathlib import Path

from moesaic.models.accel_io import PRESETS, preset_names
from moesaic.models.recipes.load import RECIPES, recipe_names
from moesaic.models.space_names import SPACES, space_names
from moesaic.models.zoo import CONVNETS, MODELS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Take none."""


def execute(_options: argparse.Namespace) -> int:
    """Print models, presets, recipes and sweeps."""
    presets = {name: _first_sentence(PRESETS / f"{name}.yaml") for name in preset_names()}
    recipes = {name: _first_sentence(RECIPES / f"{name}.yaml") for name in recipe_names()}
    sweeps = {name: _first_sentence(SPACES / f"{name}.yaml") for name in space_names()}
    models = MODELS | CONVNETS
    kinds = {"models": models, "accelerators": presets, "recipes": recipes, "sweeps": sweeps}
    width = max(len(name) for entries in kinds.values() for name in entries)
    for title, entries in kinds.items():
        print(f"{title}:")
        for name, text in entries.items():
            print(f"  {name:<{width}}  {text}")
    return 0


def _first_sentence(file: Path) -> str:
    """Return what a preset's, a recipe's or a space's file says about itself."""
    lines = file.read_text(encoding="utf-8").splitlines()
    comment = takewhile(lambda line: line.startswith("#"), lines)
    return " ".join(line.removeprefix("#").strip() for line in comment).split(". ")[0].rstrip(".")
