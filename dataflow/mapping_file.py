"""Mappings as YAML: written to be read, edited and replayed."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from moesaic.dataflow.choices import KNOBS, Freedoms, LayerChoice
from moesaic.dataflow.options import MapOptions
from moesaic.models.errors import InputError
from moesaic.models.strict_yaml import SIZE_LIMIT, read_yaml

HEAD = """\
# A mapping: no choice changes a result, only cycles. docs/mapping.md explains each.
# What a layer does not say is left to the mapper.
"""
MADE_FOR = "made_for"
ABOUT = ("model", "accel", "task", "batch", "cycles")
OPTIONS = tuple(field.name for field in fields(MapOptions) if field.name != "layers")


def explicit(options: MapOptions, freedoms: Freedoms) -> MapOptions:
    """Return the same mapping with every choice of every layer written out."""
    layers = []
    for name, asked in freedoms.items():
        values: dict[str, Any] = {knob: freedom.chosen for knob, freedom in asked.items()}
        layers.append((name, LayerChoice(**values)))
    plain = {name: getattr(options, name) for name in OPTIONS}
    return MapOptions(**plain, layers=tuple(layers))


def dump_mapping(options: MapOptions, about: dict[str, Any] | None = None) -> str:
    """Return the YAML that makes `options` again; `about` says what they were made for."""
    layers = {name: _chosen(choice) for name, choice in options.layers}
    data: dict[str, Any] = {name: getattr(options, name) for name in OPTIONS}
    head = yaml.safe_dump({MADE_FOR: about}, **_LAYOUT) if about else ""
    return HEAD + head + yaml.safe_dump(data | {"layers": layers}, **_LAYOUT)


_LAYOUT: dict[str, Any] = {"sort_keys": False, "default_flow_style": None, "width": 1000}


def short_mapping(options: MapOptions, freedoms: Freedoms, about: dict[str, Any]) -> str:
    """Return YAML with every choice written out, or where that is too long, the unusual ones."""
    text = dump_mapping(explicit(options, freedoms), about)
    return text if len(text) <= SIZE_LIMIT else dump_mapping(options, about)


def read_mapping(path: Path) -> MapOptions:
    """Return the mapping of a YAML file.

    Raises
    ------
    InputError
        In one line that names the file, the layer, the choice and what is allowed. Whether a
        network has the layer, and room for its choice, the mapper says.
    """
    data = _table(read_yaml(path), str(path), (MADE_FOR, *OPTIONS, "layers"))
    if MADE_FOR in data:
        _table(data.pop(MADE_FOR), f"{path}: {MADE_FOR}", ABOUT)
    layers = []
    content = _table(data.pop("layers", {}), f"{path}: layers", None)
    for name, choice in content.items():
        where = f"{path}: layers: {name:.80}"
        values = _table(choice, where, KNOBS)
        if None in values.values():
            raise InputError(f"{where}: {_first_none(values)} has no value")
        try:
            layers.append((name, LayerChoice(**values)))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    try:
        return MapOptions(**data, layers=tuple(layers))
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _chosen(choice: LayerChoice) -> dict[str, Any]:
    return {knob: value for knob, value in asdict(choice).items() if value is not None}


def _first_none(values: dict[str, Any]) -> str:
    return next(knob for knob, value in values.items() if value is None)


def _table(data: object, where: str, allowed: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be a table of keys, not {type(data).__name__}")
    for key in data:
        if not isinstance(key, str) or (allowed is not None and key not in allowed):
            these = ", ".join(allowed) if allowed is not None else "names of layers"
            raise InputError(f"{where}: unknown key {str(key)!r:.60}, allowed are {these}")
    return dict(data)
