"""A program saved by torch.export (.pt2), read without torch and without running anything in it.

Such a file is a zip of a JSON graph and raw weights. Pickled parts, which could run code, are never
opened, and neither are symbolic expressions, which torch itself would evaluate: sizes are numbers
here, and a dynamic batch is 1.
"""

import json
import zipfile
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.importing.program import (
    Array,
    Emitter,
    Program,
    check_input,
    check_weights,
)
from moesaic.models.importing.pt2_calls import DTYPES, Call, Ref
from moesaic.models.importing.pt2_ops import OPERATORS

MODEL = "models/model.json"
JSON_LIMIT = 64 << 20
WEIGHTS_LIMIT = 1 << 30
SCHEMA_MAJOR = 8
_BFLOAT16 = 13
_IGNORED = ("aten._assert", "aten.sym_constrain", "aten._guards")


def read_pt2(path: Path) -> Program:
    """Read a program with one float input and one output; InputError says what does not fit."""
    with zipfile.ZipFile(path) as archive:
        root = _root(archive)
        document = _json(archive, root + MODEL)
        try:
            version = document["schema_version"]["major"]
            if version != SCHEMA_MAJOR:
                raise InputError(f"schema_version must be {SCHEMA_MAJOR}, not {version!r:.40}")
            return _program(document["graph_module"], archive, root)
        except InputError:
            raise
        except (LookupError, TypeError, AttributeError, ArithmeticError, ValueError) as error:
            raise InputError(f"{MODEL}: does not follow the schema of torch.export") from error


def _root(archive: zipfile.ZipFile) -> str:
    """Return the folder of the archive, and refuse other kinds of torch files by name."""
    names = archive.namelist()
    if min((item.header_offset for item in archive.infolist()), default=1):
        raise InputError("is damaged or truncated: it is no whole archive")
    found = [name.removesuffix(MODEL) for name in names if name.endswith(f"/{MODEL}")]
    if len(found) == 1:
        return found[0]
    if any(name.endswith("data.pkl") for name in names):
        raise InputError("holds pickled objects, which are never opened; save with torch.export")
    if any("serialized_" in name for name in names):
        raise InputError("is of an older torch; export anew with torch 2.9 or later")
    raise InputError(f"is no torch.export program: it holds {len(found)} {MODEL}, not 1")


def _json(archive: zipfile.ZipFile, name: str) -> Any:
    if archive.getinfo(name).file_size > JSON_LIMIT:
        raise InputError(f"{name!r:.80}: must have at most {JSON_LIMIT} bytes")
    document = json.loads(archive.read(name))
    if not isinstance(document, dict):
        raise InputError(f"{name!r:.80}: must be an object")
    return document


# ---- weights ----------------------------------------------------------------------------------
def _tensors(archive: zipfile.ZipFile, root: str) -> dict[str, Array]:
    """Return parameters, buffers and constants by their names in the signature."""
    tensors: dict[str, Array] = {}
    total = sum(item.file_size for item in archive.infolist())
    if total > WEIGHTS_LIMIT:
        raise InputError(f"must hold at most {WEIGHTS_LIMIT} bytes, not {total}")
    for folder in ("weights", "constants"):
        config = f"{root}data/{folder}/model_{folder}_config.json"
        if config not in archive.namelist():
            continue
        for name, entry in _json(archive, config)["config"].items():
            if entry["use_pickle"] or entry["tensor_meta"] is None:
                raise InputError(f"weight {name!r:.80}: is pickled, which is never opened")
            content = archive.read(f"{root}data/{folder}/{entry['path_name']}")
            tensors[name] = _tensor(name, entry["tensor_meta"], content)
    return tensors


def _tensor(name: str, meta: dict[str, Any], content: bytes) -> Array:
    """Return a tensor from the bytes of its storage."""
    shape: list[int] = [int(size["as_int"]) for size in meta["sizes"]]
    strides: list[int] = [int(stride["as_int"]) for stride in meta["strides"]]
    offset = int(meta["storage_offset"]["as_int"])
    kind = meta["dtype"]
    if kind not in DTYPES:
        raise InputError(f"weight {name!r:.80}: dtype {kind!r:.20} is not supported")
    dtype = np.dtype(np.uint16 if kind == _BFLOAT16 else DTYPES[kind]).newbyteorder("<")
    flat = np.frombuffer(content[: len(content) // dtype.itemsize * dtype.itemsize], dtype=dtype)
    count: int = prod(shape)
    reach = offset + sum((n - 1) * s for n, s in zip(shape, strides, strict=True))
    fits = min([*shape, *strides, offset], default=0) >= 0 and reach < flat.size
    if count > flat.size or (count and not fits):
        raise InputError(f"weight {name!r:.80}: shape {shape} does not fit {flat.size} values")
    steps = [s * dtype.itemsize for s in strides]
    array = np.lib.stride_tricks.as_strided(flat[offset:], shape, steps, writeable=False)
    if kind == _BFLOAT16:
        return (array.astype(np.uint32) << 16).view(np.float32)
    return array


# ---- graph ------------------------------------------------------------------------------------
def _program(module: dict[str, Any], archive: zipfile.ZipFile, root: str) -> Program:
    graph, signature = module["graph"], module["signature"]
    tensors = _tensors(archive, root)
    constants: dict[str, Array] = {}
    inputs: list[str] = []
    for spec in signature["input_specs"]:
        ((kind, entry),) = spec.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            constants[entry["arg"]["name"]] = tensors[entry[f"{kind}_name"]]
        elif kind == "user_input":
            ((shape_of, argument),) = entry["arg"].items()
            if shape_of == "as_tensor":
                inputs.append(argument["name"])
        elif kind != "constant_input":
            raise InputError(f"inputs of kind {kind!r:.40} are not supported")
    outputs = [
        entry["arg"].get("as_tensor", {}).get("name")
        for spec in signature["output_specs"]
        for entry in spec.values()
    ]
    for what, names in (("inputs", inputs), ("outputs", outputs)):
        if len(names) != 1 or not isinstance(names[0], str):
            raise InputError(f"must have exactly one tensor of {what}, not {names!r:.80}")
    shape = _input_shape(inputs[0], graph["tensor_values"][inputs[0]])
    check_weights(constants)
    emitter = Emitter(constants)
    for node in graph["nodes"]:
        _lower(emitter, node)
    return Program(
        input_name=inputs[0],
        input_shape=shape,
        constants=emitter.constants,
        ops=tuple(emitter.ops),
        output_name=outputs[0],
    )


def _input_shape(name: str, meta: dict[str, Any]) -> tuple[int, ...]:
    dtype = DTYPES.get(meta["dtype"], np.void)
    if np.dtype(dtype).kind != "f":
        raise InputError(f"input {name!r:.60}: must be float, not {np.dtype(dtype).name}")
    return check_input(name, [size.get("as_int") for size in meta["sizes"]])


def _lower(emitter: Emitter, node: dict[str, Any]) -> None:
    """Add what a node means to the list."""
    target = str(node["target"]).removeprefix("torch.ops.")
    name = ".".join(target.split(".")[:2])
    emitter.label = name
    if name.startswith(_IGNORED):
        return
    arguments = {item["name"]: _argument(item["arg"]) for item in node["inputs"]}
    outputs: list[str] = []
    for item in node["outputs"]:
        value = _argument(item)
        outputs += [str(v) for v in (value if isinstance(value, list) else [value])]
    call = Call(emitter, arguments, tuple(outputs))
    if name in OPERATORS and outputs:
        OPERATORS[name](call)
    else:
        call.refuse()


def _argument(argument: dict[str, Any]) -> Any:
    """Return a serialised argument: a Ref, a plain value, or a list of both."""
    ((kind, value),) = argument.items()
    if kind == "as_none":
        return None
    if kind in ("as_tensor", "as_sym_int", "as_sym_float", "as_sym_bool"):
        return _symbol(value)
    if kind in ("as_tensors", "as_sym_ints", "as_sym_floats", "as_optional_tensors"):
        return [_symbol(item) for item in value]
    if kind == "as_float":
        return float(value)  # infinity is written as text
    return value


def _symbol(value: Any) -> Any:
    """Return a value that is a name or a number in one of the schema's wrappings."""
    for key in ("name", "as_name"):
        if key in value:
            return Ref(value[key])
    ((kind, inner),) = value.items()
    if kind == "as_tensor":
        return Ref(inner["name"])
    return None if kind == "as_none" else inner
