"""From parsed JSON to checked dataclasses; whatever does not fit is named in one line."""

import json
import math
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from moesaic.models.errors import InputError

T = TypeVar("T")

FILE_LIMIT = 1 << 28
_PLAIN = (bool, int, str)
_WORDS = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "text",
    list: "a list",
    dict: "an object",
    NoneType: "null",
}


def read_json(path: Path) -> object:
    """Return the content of a JSON file; InputError names the file where it is none."""
    try:
        size = path.stat().st_size
        if size > FILE_LIMIT:
            raise InputError(f"{path}: must have at most {FILE_LIMIT} bytes, not {size}")
        return json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{path}: must be JSON, but {reason:.160}") from error


def from_json(kind: type[T], value: object, *, where: str) -> T:
    """Return `value` as the dataclass `kind`.

    Fields are bool, int, float, str, Any, lists, mappings from text, dataclasses and unions of
    these; those with a default may be missing, keys that `kind` does not know are left out.
    InputError names `where`, the place inside and what is allowed.
    """
    return _convert(kind, value, where, "")


def _convert(kind: Any, value: object, where: str, place: str) -> Any:
    if type(value) is kind and kind in _PLAIN:
        return value
    origin = get_origin(kind) or kind
    if origin is Any or origin is object:
        return value
    if origin is UnionType:
        return _union(kind, value, where, place)
    if is_dataclass(origin):
        return _record(origin, value, where, place)
    if origin is float and type(value) is int and abs(value) < 1 << 63:
        value = float(value)
    infinite = isinstance(value, float) and not math.isfinite(value)
    if type(value) is not origin or infinite:
        raise InputError(f"{where}: {place or 'it'} must be {_WORDS[origin]}, not {value!r:.60}")
    if isinstance(value, list):
        (item,) = get_args(kind)
        return [_convert(item, x, where, f"{place}[{i}]") for i, x in enumerate(value)]
    if isinstance(value, dict):
        _, item = get_args(kind)
        return {key: _convert(item, x, where, _inside(place, key)) for key, x in value.items()}
    return value


def _union(kind: Any, value: object, where: str, place: str) -> Any:
    """Take the first member of a union whose JSON type fits."""
    members = get_args(kind)
    for member in members:
        origin = get_origin(member) or member
        outer = dict if is_dataclass(origin) else origin
        if type(value) is outer or (outer is float and type(value) is int):
            return _convert(member, value, where, place)
    origins = [get_origin(member) or member for member in members]
    words = " or ".join(_WORDS[dict if is_dataclass(o) else o] for o in origins)
    raise InputError(f"{where}: {place} must be {words}, not {value!r:.60}")


def _record(kind: Any, value: object, where: str, place: str) -> Any:
    if not isinstance(value, dict):
        raise InputError(f"{where}: {place or 'it'} must be an object, not {value!r:.60}")
    found: dict[str, Any] = {}
    for name, (hint, needed) in _layout(kind).items():
        if name in value:
            found[name] = _convert(hint, value[name], where, _inside(place, name))
        elif needed:
            raise InputError(f"{where}: {_inside(place, name)} is missing")
    try:
        return kind(**found)
    except InputError as error:
        raise InputError(f"{where}: {place + ': ' if place else ''}{error}") from error


def _inside(place: str, name: str) -> str:
    text = f"{name:.60}"
    return f"{place}.{text}" if place else text


@cache
def _layout(kind: Any) -> dict[str, tuple[Any, bool]]:
    """Return the type of each field and whether it must be there."""
    hints = get_type_hints(kind)
    return {
        field.name: (
            hints[field.name],
            field.default is MISSING and field.default_factory is MISSING,
        )
        for field in fields(kind)
    }


def _refuse(name: str) -> None:
    raise ValueError(f"it holds {name}")
