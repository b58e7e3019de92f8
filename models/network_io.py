"""A float network on disk: a directory of network.json and weights.npz, nothing else is trusted."""

import json
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import fields
from math import prod
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Experts,
    Floats,
    Gate,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Network,
    Norm,
    Select,
)
from moesaic.models.network_shapes import value_shapes

FORMAT, VERSION = "moesaic-network", 1
JSON_FILE, WEIGHTS_FILE = "network.json", "weights.npz"
JSON_LIMIT = 8 << 20
WEIGHTS_LIMIT = 1 << 30
TEXT_LIMIT = 200
_KEYS = ("format", "version", "name", "labels", "layers")
_OPS: dict[str, type[Layer]] = {
    op.__name__: op
    for op in (
        Image,
        Linear,
        Embed,
        Norm,
        Attention,
        Gelu,
        Add,
        Select,
        MeanPool,
        Gate,
        Experts,
    )
}


def save_network(
    network: Network, directory: str | Path, files: Mapping[str, bytes] | None = None
) -> None:
    """Write `network`, and further `files` by name, to `directory`: all of it or nothing.

    An earlier network at this place is replaced; anything else there is refused by InputError.
    """
    value_shapes(network)
    target = Path(directory)
    if target.exists() and not _is_replaceable(target):
        raise InputError(f"{target}: exists and is not a network's directory")
    layers: list[dict[str, Any]] = []
    arrays: dict[str, Any] = {}
    for layer in network.layers:
        entry, own = _entry(layer)
        layers.append(entry)
        arrays.update(own)
    head = {"format": FORMAT, "version": VERSION, "name": network.name, "labels": network.labels}
    text = json.dumps(head | {"layers": layers}, indent=1, allow_nan=False)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".moesaic-", dir=target.parent) as folder:
            scratch = Path(folder) / "new"
            scratch.mkdir()
            (scratch / JSON_FILE).write_text(text)
            np.savez(scratch / WEIGHTS_FILE, **arrays)
            for name, content in (files or {}).items():
                (scratch / name).write_bytes(content)
            if target.exists():
                target.rename(Path(folder) / "old")
            scratch.rename(target)
    except OSError as error:
        raise InputError(f"{target}: cannot be written: {error.strerror or error}") from error


def load_network(directory: str | Path) -> Network:
    """Read what `save_network` wrote.

    Raises InputError, one line that names file, field and value, for anything else: foreign,
    truncated or oversized files, unknown keys, wrong types and shapes, NaN and infinity.
    """
    json_path, weights_path = Path(directory) / JSON_FILE, Path(directory) / WEIGHTS_FILE
    place = json_path
    try:
        with json_path.open("rb") as file:
            text = file.read(JSON_LIMIT + 1)
        if len(text) > JSON_LIMIT:
            raise InputError(f"must have at most {JSON_LIMIT} bytes")
        document = _document(json.loads(text.decode()))
        place = weights_path
        arrays = _read_arrays(weights_path)
        place = json_path
        network = Network(
            name=document["name"],
            layers=tuple(_layer(entry, arrays) for entry in document["layers"]),
            labels=document["labels"],
        )
        if arrays:
            raise InputError(f"holds no layer for {next(iter(arrays))!r:.80} of {WEIGHTS_FILE}")
        value_shapes(network)
    except OSError as error:
        raise InputError(f"{place}: cannot be read: {error.strerror or error}") from error
    except (ValueError, MemoryError, RecursionError) as error:
        raise InputError(f"{place}: {' '.join(str(error).split())}") from error
    except Exception as error:  # zlib.error, struct.error, EOFError ... of a damaged archive
        raise InputError(f"{place}: is damaged: {type(error).__name__}") from error
    return network


def _is_replaceable(target: Path) -> bool:
    return target.is_dir() and ((target / JSON_FILE).is_file() or not any(target.iterdir()))


def _entry(layer: Layer) -> tuple[dict[str, Any], dict[str, Floats]]:
    """Return the JSON object of `layer`, and its arrays by their names in the archive."""
    entry: dict[str, Any] = {"op": type(layer).__name__}
    arrays: dict[str, Floats] = {}
    for field in fields(layer):
        value = getattr(layer, field.name)
        if isinstance(value, np.ndarray):
            arrays[f"{layer.name}.{field.name}"] = value
        else:
            entry[field.name] = str(value) if isinstance(value, NM) else value
    return entry, arrays


def _document(document: Any) -> dict[str, Any]:
    """Check the outermost object."""
    if not isinstance(document, dict) or set(document) != set(_KEYS):
        raise InputError(f"must be an object with exactly the keys {', '.join(_KEYS)}")
    if document["format"] != FORMAT or document["version"] != VERSION:
        found = (document["format"], document["version"])
        raise InputError(f"format and version must be {(FORMAT, VERSION)}, not {found!r:.80}")
    labels = document["labels"]
    texts = [document["name"]]
    if not isinstance(labels, dict) or not isinstance(document["layers"], list):
        raise InputError("labels must be an object and layers a list")
    for text in (*texts, *labels, *labels.values()):
        _text("name and labels", text)
    return document


def _text(field: str, value: object) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= TEXT_LIMIT or not value.isprintable():
        raise InputError(f"{field} must be text of 1 to {TEXT_LIMIT} signs, not {value!r:.80}")
    return value


def _layer(entry: Any, arrays: dict[str, Floats]) -> Layer:
    """Build one layer from its JSON object; takes its arrays out of `arrays`."""
    if not isinstance(entry, dict) or entry.get("op") not in _OPS:
        raise InputError(f"op of a layer must be one of {', '.join(_OPS)}, not {entry!r:.80}")
    op = _OPS[entry.pop("op")]
    name = _text("name of a layer", entry.get("name"))
    keys = {f.name for f in fields(op) if Floats not in (f.type, *get_args(f.type))}
    if entry.keys() != keys:
        wrong = min(entry.keys() ^ keys)
        raise InputError(f"layer {name!r:.80}: must have exactly {sorted(keys)}, see {wrong!r:.80}")
    values: dict[str, Any] = {}
    for field in fields(op):
        if field.name not in keys:
            key = f"{name}.{field.name}"
            if key not in arrays:
                raise InputError(f"layer {name!r:.80}: {key!r:.80} is missing in {WEIGHTS_FILE}")
            values[field.name] = arrays.pop(key)
        else:
            values[field.name] = _plain(name, field.name, field.type, entry[field.name])
    return op(**values)


def _plain(layer: str, field: str, kind: Any, value: Any) -> Any:
    """Check one JSON value against the type of its field."""
    kinds = get_args(kind) or (kind,)
    if NM in kinds and value is not None:
        return NM.parse(value)
    if type(value) is int and float in kinds:
        value = float(value)
    if type(value) not in kinds:
        wanted = " or ".join(k.__name__ for k in kinds)
        raise InputError(f"layer {layer!r:.80}: {field} must be {wanted}, not {value!r:.80}")
    return value


def _read_arrays(path: Path) -> dict[str, NDArray[np.float32]]:
    """Read an archive of float32 arrays, each only after its size has been found to fit."""
    if not zipfile.is_zipfile(path):
        with path.open("rb"):
            raise InputError("is not an archive of arrays, or is truncated")
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        items = archive.infolist()
        if sum(item.file_size for item in items) > WEIGHTS_LIMIT:
            raise InputError(f"must hold at most {WEIGHTS_LIMIT} bytes")
        for item in items:
            name = item.filename.removesuffix(".npy")
            with archive.open(item) as file:
                if np.lib.format.read_magic(file) != (1, 0):
                    raise InputError(f"{name!r:.80} must be an array of format 1.0")
                shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
                content = file.read()
            if dtype != np.float32 or 4 * prod(shape) != len(content):
                raise InputError(f"{name!r:.80} must be float32 and whole, not {dtype} {shape}")
            array = np.frombuffer(content, dtype=np.float32)
            arrays[name] = array.reshape(shape, order="F" if fortran else "C")
    return arrays
