"""Accelerators by name or from YAML, with every mistake named in one line."""

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import yaml

from moesaic.models.accel import FIELD_NAMES, NM, AccelSpec, BoardSpec, MemorySpec
from moesaic.models.errors import InputError
from moesaic.models.numbers import INTEGER
from moesaic.models.strict_yaml import read_yaml

PRESETS = Path(__file__).parent / "presets"


def preset_names() -> list[str]:
    """Return the accelerators that ship."""
    return sorted(path.stem for path in PRESETS.glob("*.yaml"))


def load_accel(name: str | Path) -> AccelSpec:
    """Return a preset by its name, or an accelerator from a YAML file."""
    text = str(name)
    if text in preset_names():
        return _read(PRESETS / f"{text}.yaml")
    path = Path(text)
    if path.suffix in (".yaml", ".yml") or path.exists():
        return _read(path)
    raise InputError(
        f"--accel must be a YAML file or one of {', '.join(preset_names())}, not {text!r:.80}"
    )


def load_integer_accel(name: str | Path) -> AccelSpec:
    """Return what `load_accel` does, unless it is for training."""
    spec = load_accel(name)
    if spec.numbers != INTEGER:
        raise InputError(
            f"--accel {spec.name} is for training ({spec.numbers}), this command takes integers"
        )
    return spec


def dump_accel(spec: AccelSpec) -> str:
    """Return the YAML that makes `spec` again."""
    data = asdict(spec)
    data["sparsity"] = [str(mode) for mode in spec.sparsity]
    return yaml.safe_dump(data, sort_keys=False)


def accel_from(data: object, *, name: str, where: str) -> AccelSpec:
    """Build an accelerator from what a YAML file holds; `where` begins every message."""
    values = _mapping(data, where, FIELD_NAMES)
    values.setdefault("name", name)
    missing = [key for key in ("rows", "columns", "lanes") if key not in values]
    if missing:
        raise InputError(f"{where}: {missing[0]} is missing")
    modes = values.get("sparsity", ())
    if not isinstance(modes, list | tuple):
        raise InputError(f"{where}: sparsity must be a list such as ['2:4'], not {modes!r:.80}")
    try:
        values["sparsity"] = tuple(NM.parse(mode) for mode in modes)
        for key, kind in (("memory", MemorySpec), ("board", BoardSpec)):
            if key in values:
                allowed = tuple(f.name for f in fields(kind))
                values[key] = kind(**_mapping(values[key], f"{where}: {key}", allowed))
        return AccelSpec(**values)
    except InputError as error:
        raise InputError(str(error) if where in str(error) else f"{where}: {error}") from None


def _mapping(data: object, where: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be a mapping of parameters, not {type(data).__name__}")
    for key in data:
        if key not in allowed:
            raise InputError(
                f"{where}: unknown parameter {str(key)!r:.60}, allowed are {', '.join(allowed)}"
            )
    return dict(data)


def _read(path: Path) -> AccelSpec:
    return accel_from(read_yaml(path), name=path.stem, where=str(path))
