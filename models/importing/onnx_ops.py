"""ONNX operators, opset 13 to 23, in terms of the common list."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from moesaic.models.errors import InputError
from moesaic.models.importing.program import UNSUPPORTED, Array, Emitter

_SAME = {
    "Add": "add",
    "And": "and",
    "Abs": "abs",
    "Ceil": "ceil",
    "Div": "div",
    "Equal": "equal",
    "Erf": "erf",
    "Exp": "exp",
    "Expand": "expand",
    "Floor": "floor",
    "GlobalAveragePool": "global_pool",
    "Greater": "greater",
    "GreaterOrEqual": "greater_equal",
    "Identity": "identity",
    "IsNaN": "isnan",
    "Less": "less",
    "LessOrEqual": "less_equal",
    "MatMul": "matmul",
    "Max": "max",
    "Min": "min",
    "Mod": "mod",
    "Mul": "mul",
    "Neg": "neg",
    "Not": "not",
    "Or": "or",
    "Pow": "pow",
    "Range": "range",
    "Reciprocal": "reciprocal",
    "Sigmoid": "sigmoid",
    "Size": "size",
    "Slice": "slice",
    "Sqrt": "sqrt",
    "Squeeze": "squeeze",
    "Sub": "sub",
    "Tanh": "tanh",
    "Tile": "tile",
    "Unsqueeze": "unsqueeze",
    "Where": "where",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One ONNX node with its attributes as Python values."""

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]

    def get(self, name: str, default: Any = None) -> Any:
        """Return an attribute or its default."""
        return self.attributes.get(name, default)

    def input(self, place: int) -> str:
        """Return an input, ``""`` where it is left out."""
        return self.inputs[place] if place < len(self.inputs) else ""


def array_of(tensor: onnx.TensorProto) -> Array:
    """Return a tensor that the file itself holds; 16-bit brain floats become float32."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        raise InputError("constants of operators must not be external")
    array = numpy_helper.to_array(tensor)
    if tensor.data_type == onnx.TensorProto.BFLOAT16:
        array = array.astype(np.float32)
    if array.dtype.kind not in "fiub":
        raise InputError(f"constants of type {array.dtype} are not supported")
    return np.asarray(array)


def _optional(emitter: Emitter, node: Node, place: int, attribute: str) -> str:
    """Return an input that older opsets have as an attribute."""
    values = node.get(attribute)
    return node.input(place) if values is None else emitter.constant(values)


def _constant(e: Emitter, n: Node) -> None:
    for key in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        if n.get(key) is not None:
            kind = None if key == "value" else np.float32 if "float" in key else np.int64
            value = np.asarray(n.get(key), dtype=kind)
            if value.dtype.kind in "fiub":
                e.constants[n.outputs[0]] = value
                return
    e.emit(UNSUPPORTED, outputs=n.outputs)


def _gemm(e: Emitter, n: Node) -> None:
    a, b, c = n.input(0), n.input(1), n.input(2)
    a = e.emit("permute", a) if n.get("transA", 0) else a
    b = e.emit("permute", b) if n.get("transB", 0) else b
    alpha, beta = n.get("alpha", 1.0), n.get("beta", 1.0)
    b = b if alpha == 1 else e.emit("mul", b, e.constant(np.float32(alpha)))
    if not c:
        e.emit("matmul", a, b, outputs=n.outputs)
        return
    c = c if beta == 1 else e.emit("mul", c, e.constant(np.float32(beta)))
    e.emit("add", e.emit("matmul", a, b), c, outputs=n.outputs)


def _conv(e: Emitter, n: Node) -> None:
    if n.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        e.emit(UNSUPPORTED, *n.inputs, outputs=n.outputs, why="auto_pad")
        return
    e.emit(
        "convolution",
        *n.inputs,
        outputs=n.outputs,
        stride=n.get("strides", [1]),
        pads=n.get("pads", []),
        dilation=n.get("dilations", []),
        groups=n.get("group", 1),
    )


def _split(e: Emitter, n: Node) -> None:
    sizes = _optional(e, n, 1, "split")
    parts = n.get("num_outputs", len(n.outputs))
    e.emit("split", n.input(0), sizes, outputs=n.outputs, axis=n.get("axis", 0), parts=parts)


def _reduce_mean(e: Emitter, n: Node) -> None:
    axes = _optional(e, n, 1, "axes")
    keepdims = bool(n.get("keepdims", 1))
    e.emit("mean", n.input(0), axes, outputs=n.outputs, keepdims=keepdims)


def _constant_of_shape(e: Emitter, n: Node) -> None:
    value: Array = n.get("value", np.zeros(1, dtype=np.float32))
    e.emit("full", n.input(0), outputs=n.outputs, value=value.reshape(-1)[0], dtype=value.dtype)


def _cast(e: Emitter, n: Node) -> None:
    dtype = helper.tensor_dtype_to_np_dtype(n.get("to"))
    dtype = np.dtype(np.float32) if n.get("to") == onnx.TensorProto.BFLOAT16 else dtype
    e.emit("cast", n.input(0), outputs=n.outputs, dtype=dtype)


def _layer_norm(e: Emitter, n: Node) -> None:
    axis, epsilon = n.get("axis", -1), n.get("epsilon", 1e-5)
    e.emit("layer_norm", *n.inputs, outputs=n.outputs[:1], axis=axis, epsilon=epsilon)


def _gelu(e: Emitter, n: Node) -> None:
    tanh = n.get("approximate", b"none") == b"tanh"
    e.emit("gelu", n.input(0), outputs=n.outputs, tanh=tanh)


def _attention(e: Emitter, n: Node) -> None:
    plain = all(not n.get(key) for key in ("is_causal", "q_num_heads", "softcap"))
    if not plain or len(n.inputs) > 4 or len(n.outputs) > 1:
        why = "only without is_causal, q_num_heads, softcap and cache"
        e.emit(UNSUPPORTED, *n.inputs, outputs=n.outputs, why=why)
        return
    e.emit("attention", *n.inputs, outputs=n.outputs, scale=n.get("scale"))


def _sum(e: Emitter, n: Node) -> None:
    total = n.inputs[0]
    for term in n.inputs[1:]:
        total = e.emit("add", total, term)
    e.emit("identity", total, outputs=n.outputs)


_SPECIAL: dict[str, Callable[[Emitter, Node], Any]] = {
    "Attention": _attention,
    "Cast": _cast,
    "CastLike": lambda e, n: e.emit("cast_like", *n.inputs, outputs=n.outputs),
    "Concat": lambda e, n: e.emit("concat", *n.inputs, outputs=n.outputs, axis=n.get("axis")),
    "Constant": _constant,
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "Dropout": lambda e, n: e.emit("identity", n.input(0), outputs=n.outputs[:1]),
    "Einsum": lambda e, n: e.emit(
        "einsum", *n.inputs, outputs=n.outputs, equation=n.get("equation", b"").decode()
    ),
    "Flatten": lambda e, n: e.emit(
        "flatten_to_2d", n.input(0), outputs=n.outputs, axis=n.get("axis", 1)
    ),
    "Gather": lambda e, n: e.emit("gather", *n.inputs, outputs=n.outputs, axis=n.get("axis", 0)),
    "GatherElements": lambda e, n: e.emit(
        "gather_elements", *n.inputs, outputs=n.outputs, axis=n.get("axis", 0)
    ),
    "Gelu": _gelu,
    "Gemm": _gemm,
    "LayerNormalization": _layer_norm,
    "ReduceMean": _reduce_mean,
    "Reshape": lambda e, n: e.emit(
        "reshape", *n.inputs, outputs=n.outputs, zero_copies=not n.get("allowzero", 0)
    ),
    "Shape": lambda e, n: e.emit(
        "shape", n.input(0), outputs=n.outputs, start=n.get("start", 0), end=n.get("end")
    ),
    "Softmax": lambda e, n: e.emit(
        "softmax", n.input(0), outputs=n.outputs, axis=n.get("axis", -1)
    ),
    "Split": _split,
    "Sum": _sum,
    "Transpose": lambda e, n: e.emit("permute", n.input(0), outputs=n.outputs, axes=n.get("perm")),
}


def lower(emitter: Emitter, proto: onnx.NodeProto) -> None:
    """Add what a node means to the list."""
    domain = "" if proto.domain in ("", "ai.onnx") else f"{proto.domain}."
    attributes = {}
    for attribute in proto.attribute:
        value = helper.get_attribute_value(attribute)
        if isinstance(value, onnx.TensorProto):
            value = array_of(value)
        attributes[attribute.name] = value
    node = Node(
        op=f"{domain}{proto.op_type}",
        inputs=tuple(proto.input),
        outputs=tuple(proto.output),
        attributes=attributes,
    )
    emitter.label = node.op
    if node.op in _SPECIAL:
        _SPECIAL[node.op](emitter, node)
    else:
        kind = _SAME.get(node.op, UNSUPPORTED)
        emitter.emit(kind, *node.inputs, outputs=node.outputs)
