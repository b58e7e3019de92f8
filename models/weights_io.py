"""Weights on disk, and made-up weights for networks that nobody can ship."""

import json
import os
import zipfile
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, Protocol, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError
from moesaic.models.vit_config import VitConfig

Weights = dict[str, NDArray[np.float32]]


class Config(Protocol):
    """Sizes of a network, which fix the names and shapes of its parameters."""

    @classmethod
    def from_mapping(cls, values: object) -> Self:
        """Build from a plain mapping."""

    def to_mapping(self) -> dict[str, Any]:
        """Return a plain mapping."""

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter by its name."""


C = TypeVar("C", bound=Config)
CONFIG_KEY = "config_json"
_HEADER_LIMIT = 4096
_CONFIG_LIMIT = 64 * 1024
_FOLDER = Path(__file__).parent / "weights"


def weight_names() -> list[str]:
    """Return the names of the networks whose weights ship."""
    return sorted(path.stem for path in _FOLDER.glob("*.npz"))


def weights_path(source: str | Path) -> Path:
    """Return the file of a shipped network, or `source` itself."""
    return _FOLDER / f"{source}.npz" if str(source) in weight_names() else Path(source)


def save_weights(path: str | Path, weights: Mapping[str, NDArray[Any]], config: Config) -> None:
    """Write float32 weights and the configuration to a compressed .npz, all or nothing."""
    target = Path(path)
    arrays: dict[str, Any] = {n: np.asarray(w, dtype=np.float32) for n, w in weights.items()}
    _check(arrays, config)
    arrays[CONFIG_KEY] = np.array(json.dumps(config.to_mapping()))
    scratch = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        with scratch.open("wb") as file:
            np.savez_compressed(file, **arrays)
        scratch.replace(target)
    finally:
        scratch.unlink(missing_ok=True)


def load_weights(source: str | Path) -> tuple[Weights, VitConfig]:
    """Read a plain vision transformer, as `load_weights_of` does."""
    return load_weights_of(source, VitConfig)


def load_weights_of(source: str | Path, kind: type[C]) -> tuple[Weights, C]:
    """Read what `save_weights` wrote, by a shipped name or from a file, with its configuration.

    Raises InputError, one line that names the file, for anything else: foreign or truncated files,
    other names, shapes or types than the configuration asks for, NaN and infinity.
    """
    path = weights_path(source)
    try:
        return _read(path, kind)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, MemoryError, RecursionError, zipfile.BadZipFile) as error:
        raise InputError(f"{path}: {' '.join(str(error).split())}") from error
    except Exception as error:  # zlib.error, struct.error, EOFError ... of a damaged archive
        raise InputError(f"{path}: is damaged: {type(error).__name__}") from error


def _read(path: Path, kind: type[C]) -> tuple[Weights, C]:
    """Read the archive, each member only after its size has been found to fit its shape."""
    with zipfile.ZipFile(path) as archive:
        sizes = {item.filename.removesuffix(".npy"): item.file_size for item in archive.infolist()}
    if sizes.get(CONFIG_KEY, _CONFIG_LIMIT + 1) > _CONFIG_LIMIT:
        raise InputError(f"must hold a text {CONFIG_KEY} of at most {_CONFIG_LIMIT} bytes")
    with np.load(path, allow_pickle=False) as arrays:
        config = kind.from_mapping(json.loads(str(arrays[CONFIG_KEY])))
        _check_names(sizes.keys() - {CONFIG_KEY}, config)
        for name, shape in config.parameter_shapes.items():
            if sizes[name] > 4 * prod(shape) + _HEADER_LIMIT:
                raise InputError(f"{name} must be float32 of shape {shape}, but is larger")
        weights = {name: arrays[name] for name in config.parameter_shapes}
    _check(weights, config)
    return weights, config


def _check_names(names: set[str], config: Config) -> None:
    """Raise InputError unless `names` are the parameters of `config`."""
    wanted = config.parameter_shapes.keys()
    if missing := sorted(wanted - names):
        raise InputError(f"{missing[0]} is missing")
    if unknown := sorted(names - wanted):
        raise InputError(f"{unknown[0]!r:.80} is not a parameter of this configuration")


def _check(weights: Mapping[str, NDArray[Any]], config: Config) -> None:
    """Raise InputError unless the weights are finite float32 of the shapes of `config`."""
    _check_names(set(weights), config)
    for name, shape in config.parameter_shapes.items():
        value = weights[name]
        if value.dtype != np.float32 or value.shape != shape:
            raise InputError(
                f"{name} must be float32 of shape {shape}, not {value.dtype} of shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise InputError(f"{name} must be finite, but holds NaN or infinity")
