"""Reading a recipe by name or from a YAML file."""

from collections.abc import Mapping
from pathlib import Path

from moesaic.models.errors import InputError
from moesaic.models.recipes.canvas_schema import CANVAS, CanvasRecipe
from moesaic.models.recipes.method_schema import MethodRecipe
from moesaic.models.recipes.schema import TrainRecipe
from moesaic.models.strict_yaml import read_yaml

RECIPES = Path(__file__).parent


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def load_recipe(source: str | Path) -> TrainRecipe | CanvasRecipe | MethodRecipe:
    """Read a recipe by its shipped name or from a YAML file.

    Raises InputError with one line that names the file and what is wrong in it.
    """
    path = RECIPES / f"{source}.yaml" if str(source) in recipe_names() else Path(source)
    parsed = read_yaml(path)
    try:
        if isinstance(parsed, Mapping) and parsed.get("dataset") == CANVAS:
            return CanvasRecipe.from_mapping(parsed)
        if isinstance(parsed, Mapping) and "method" in parsed:
            return MethodRecipe.from_mapping(parsed)
        return TrainRecipe.from_mapping(parsed)
    except ValueError as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
