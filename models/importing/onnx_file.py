"""An ONNX file, read without trust: sizes, external data and types are checked before use."""

from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from moesaic.models.errors import InputError
from moesaic.models.importing.onnx_ops import array_of, lower
from moesaic.models.importing.program import Array, Emitter, Program, check_input, check_weights

FILE_LIMIT = 1 << 30
OPSETS = (13, 23)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)


def read_onnx(path: Path) -> Program:
    """Read a model with one float input and one output; InputError says what does not fit.

    Weights may lie in an external file beside the model, named without any folder.
    """
    try:
        model = onnx.ModelProto.FromString(path.read_bytes())
    except OSError:
        raise
    except Exception as error:  # protobuf's DecodeError, under differing names
        raise InputError("is not a readable ONNX model: foreign, damaged or truncated") from error
    if not model.ir_version or not model.graph.node:
        raise InputError("is not a readable ONNX model: it holds no graph")
    _check_opset(model)
    graph = model.graph
    constants = {t.name: _tensor(t, path.parent) for t in graph.initializer}
    if graph.sparse_initializer:
        raise InputError("sparse initializers are not supported")
    check_weights(constants)
    emitter = Emitter(constants)
    inputs = [value for value in graph.input if value.name not in constants]
    _check_count("inputs", [value.name for value in inputs])
    _check_count("outputs", [value.name for value in graph.output])
    shape = _input_shape(inputs[0])
    for node in graph.node:
        try:
            lower(emitter, node)
        except (LookupError, TypeError, AttributeError) as error:
            raise InputError(f"a node of type {node.op_type!r:.60} is damaged") from error
    return Program(
        input_name=inputs[0].name,
        input_shape=shape,
        constants=emitter.constants,
        ops=tuple(emitter.ops),
        output_name=graph.output[0].name,
    )


def _check_count(what: str, names: list[str]) -> None:
    if len(names) != 1:
        listed = ", ".join(repr(name)[:60] for name in names[:20])
        raise InputError(f"must have exactly one of {what}, not {len(names)} ({listed})")


def _check_opset(model: onnx.ModelProto) -> None:
    versions = [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")]
    low, high = OPSETS
    if len(versions) != 1 or not low <= versions[0] <= high:
        raise InputError(f"opset must be in {low}..{high}, not {versions}")


def _input_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    tensor = value.type.tensor_type
    if tensor.elem_type not in _FLOATS:
        names = {number: text.lower() for text, number in TensorProto.DataType.items()}
        kind = names.get(tensor.elem_type, "no tensor")
        raise InputError(f"input {value.name!r:.60}: must be float, not {kind}")
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim]
    return check_input(value.name, sizes)


def _tensor(tensor: TensorProto, folder: Path) -> Array:
    """Return an initializer; 16-bit brain floats become float32."""
    count = prod(tensor.dims)
    if min(tensor.dims, default=1) < 0 or count > FILE_LIMIT:
        raise InputError(f"weight {tensor.name!r:.80}: has a shape of {list(tensor.dims)}")
    try:
        external = tensor.data_location == TensorProto.EXTERNAL
        return _external(tensor, folder) if external else array_of(tensor)
    except InputError as error:
        raise InputError(f"weight {tensor.name!r:.80}: {error}") from error
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"weight {tensor.name!r:.80}: is damaged") from error


def _external(tensor: TensorProto, folder: Path) -> Array:
    """Read an initializer from a file in the model's own folder, and from nowhere else."""
    entries: dict[str, Any] = {entry.key: entry.value for entry in tensor.external_data}
    location = str(entries.get("location", ""))
    path = folder / location
    plain = location not in ("", ".", "..") and not set(location) & set("/\\:\0")
    if not plain or path.is_symlink() or not path.is_file():
        raise InputError(f"external data must be a file beside the model, not {location!r:.80}")
    dtype = np.dtype(helper.tensor_dtype_to_np_dtype(tensor.data_type)).newbyteorder("<")
    size, offset = prod(tensor.dims) * dtype.itemsize, int(entries.get("offset", 0))
    total = path.stat().st_size
    if int(entries.get("length", size)) != size or offset < 0 or offset + size > total:
        raise InputError(
            f"must be {size} bytes from {offset} of {location!r:.80}, which has {total}"
        )
    if total > FILE_LIMIT:
        raise InputError(f"external data must have at most {FILE_LIMIT} bytes, not {total}")
    with path.open("rb") as file:
        file.seek(offset)
        array = np.frombuffer(file.read(size), dtype=dtype).reshape(tuple(tensor.dims))
    if tensor.data_type == TensorProto.BFLOAT16:
        return array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise InputError(f"type {array.dtype} is not supported")
    return array
