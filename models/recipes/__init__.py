"""Training recipes: what may stand in their YAML, and those that ship."""

from moesaic.models.recipes.canvas_schema import CanvasRecipe
from moesaic.models.recipes.load import load_recipe, recipe_names
from moesaic.models.recipes.method_schema import MethodRecipe
from moesaic.models.recipes.schema import AugmentSpec, TrainRecipe

__all__ = [
    "AugmentSpec",
    "CanvasRecipe",
    "MethodRecipe",
    "TrainRecipe",
    "load_recipe",
    "recipe_names",
]
