"""Recipes: those that ship, and one line for each thing that can be wrong in another."""

from pathlib import Path

import pytest
import yaml

from moesaic.models.errors import InputError
from moesaic.models.recipes import TrainRecipe, load_recipe, recipe_names
from moesaic.models.vit_config import VIT_MNIST

SHIPPED = {"vit-mnist": None, "vit-mnist-2of4": (2, 4), "vit-mnist-2of8": (2, 8)}


def test_shipped_recipes_load() -> None:
    assert set(SHIPPED) <= set(recipe_names())
    for name, pattern in SHIPPED.items():
        recipe = load_recipe(name)
        assert isinstance(recipe, TrainRecipe)
        assert (recipe.name, recipe.model, recipe.n_of_m) == (name, VIT_MNIST, pattern)
        assert recipe.start == (None if pattern is None else "vit-mnist")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epoch": 3}, "unknown key 'epoch' in the recipe; allowed are"),
        ({"epochs": None}, r"epochs must be an integer in 1\.\.10000, not None"),
        ({"epochs": True}, "epochs must be an integer"),
        ({"batch": 0}, r"batch must be an integer in 1\.\.4096, not 0"),
        ({"batch": 8.0}, "batch must be an integer"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number in .*, not nan"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a number in .*, not '1e-3'"),
        ({"nm": "4:2"}, "nm must be 'N:M' with N <= M <= 32, not '4:2'"),
        ({"nm": "2:7"}, "nm must have an M that divides dim = 64, not '2:7'"),
        ({"nm": 124}, "nm must be 'N:M'"),
        ({"dataset": "cifar"}, "dataset must be 'mnist' or 'canvas', not 'cifar'"),
        ({"name": "../up"}, "name must match"),
        ({"start": 3}, "start must be a network"),
        ({"augment": {"rotate": 1}}, "unknown key 'rotate' in augment"),
        ({"augment": {"scale": 2}}, r"augment.scale must be a number in 0\.0\.\.1\.0, not 2"),
        ({"augment": 3}, "augment must be a mapping"),
        ({"model": {"image": 28}}, "model must have exactly the keys"),
        ({"model": VIT_MNIST.to_mapping() | {"image": 56}}, "image 28, channels 1 and classes 10"),
    ],
)
def test_bad_recipe_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    source = Path(__file__).parents[1] / "models" / "recipes" / "vit-mnist.yaml"
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(yaml.safe_load(source.read_text()) | change))
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the recipe must be a mapping"),
        ("name: x", "dataset is missing"),
        ("name: a\nname: b", "key 'name' is repeated"),
        ("a: &x 1\nb: *x", "aliases are not allowed"),
        ("a: !!python/object/apply:os.system [ls]", "could not determine a constructor"),
        ("[" * 5000, "nested too deeply"),
        ("a: [", "bad.yaml"),
        ("? [a]\n: 1", "unhashable|unknown key"),
        ("\x00", "bad.yaml"),
        ("a: " + "x" * 70_000, "size must be at most 65536 bytes"),
    ],
    ids=range(10),
)
def test_hostile_yaml_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert "bad.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)
