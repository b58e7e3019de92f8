"""Reading a recipe from YAML that may be hostile."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from moesaic.models.errors import InputError
from moesaic.models.recipes.schema import TrainRecipe

SIZE_LIMIT = 64 * 1024
_FOLDER = Path(__file__).parent


class _StrictLoader(yaml.SafeLoader):
    """Safe YAML without aliases and without repeated keys."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        repeated = [key for key in keys if keys.count(key) > 1]
        if repeated:
            raise yaml.YAMLError(f"key {repeated[0]!r:.60} is repeated")
        return super().construct_mapping(node, deep)


def recipe_names() -> list[str]:
    """Return the names of the recipes that ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.yaml"))


def _read(path: Path) -> bytes:
    """Return the bytes of a small file."""
    with path.open("rb") as file:
        text = file.read(SIZE_LIMIT + 1)
    if len(text) > SIZE_LIMIT:
        raise InputError(f"size must be at most {SIZE_LIMIT} bytes")
    return text


def load_recipe(source: str | Path) -> TrainRecipe:
    """Read a recipe by its shipped name or from a YAML file.

    Raises InputError with one line that names the file and what is wrong in it.
    """
    path = _FOLDER / f"{source}.yaml" if str(source) in recipe_names() else Path(source)
    try:
        text = _read(path)
        parsed = yaml.load(text, _StrictLoader)  # noqa: S506 (a SafeLoader, made stricter)
        return TrainRecipe.from_mapping(parsed)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply") from error
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
