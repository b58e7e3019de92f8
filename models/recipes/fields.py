"""Fields of recipes: how they are declared, and one sentence for each that is wrong."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, field, fields
from typing import Any

from moesaic.models.errors import InputError

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")


def number_field(low: float, high: float, default: Any = MISSING) -> Any:
    """Declare a number field that must lie in low..high; integer bounds allow integers only."""
    return field(default=default, metadata={"range": (low, high)})


def check_numbers(spec: Any, prefix: str = "") -> None:
    """Raise InputError for the first number field of the wrong type or out of its range."""
    for item in fields(spec):
        if "range" not in item.metadata:
            continue
        (low, high), value = item.metadata["range"], getattr(spec, item.name)
        whole = isinstance(low, int)
        good = type(value) is int or (type(value) is float and not whole)
        if not good or not low <= value <= high:
            kind = "an integer" if whole else "a number"
            raise InputError(
                f"{prefix}{item.name} must be {kind} in {low}..{high}, not {value!r:.60}"
            )


def arguments_of(cls: type, values: object, where: str) -> dict[str, Any]:
    """Return `values` as arguments of `cls`, or raise InputError for unknown or missing keys."""
    known = [item.name for item in fields(cls)]
    needed = [i.name for i in fields(cls) if i.default is MISSING and i.default_factory is MISSING]
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a mapping with the keys {known}, not {values!r:.60}")
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {key!r:.60} in {where}; allowed are {known}")
    for key in needed:
        if key not in values:
            raise InputError(f"{key} is missing in {where}; needed are {needed}")
    return dict(values)


def check_name(name: object) -> None:
    """Raise InputError unless `name` may name a file."""
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise InputError(f"name must match {_NAME.pattern}, not {name!r:.60}")
