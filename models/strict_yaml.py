"""YAML that may be hostile: small, without aliases, without repeated keys."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from moesaic.models.errors import InputError

SIZE_LIMIT = 64 * 1024


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


def read_yaml(path: Path) -> Any:
    """Return what a YAML file holds; InputError in one line that names the file."""
    try:
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1)
        if len(text) > SIZE_LIMIT:
            raise InputError(f"{path}: size must be at most {SIZE_LIMIT} bytes")
        return yaml.load(text, _StrictLoader)  # noqa: S506 (a SafeLoader, made stricter)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    except RecursionError as error:
        raise InputError(f"{path}: is nested too deeply") from error
    except InputError:
        raise
    except (yaml.YAMLError, ValueError) as error:
        reason = " ".join(str(error).split())
        printable = "".join(c if c.isprintable() else "?" for c in reason)
        raise InputError(f"{path}: is not valid YAML: {printable:.300}") from error
