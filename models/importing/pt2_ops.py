"""ATen operators of exported torch programs in terms of the common list."""

from collections.abc import Callable
from typing import Any

import numpy as np

from moesaic.models.importing.program import UNSUPPORTED, Emitter

DTYPES: dict[int, Any] = {
    1: np.uint8,
    2: np.int8,
    3: np.int16,
    4: np.int32,
    5: np.int64,
    6: np.float16,
    7: np.float32,
    8: np.float64,
    12: np.bool_,
    13: np.float32,  # bfloat16, widened when it is read
}


class Ref(str):
    """The name of a value, as opposed to a string argument."""

    __slots__ = ()


class Call:
    """One call with its arguments by name; what is not given has the default."""

    def __init__(self, emitter: Emitter, arguments: dict[str, Any], outputs: tuple[str, ...]):
        self.emitter = emitter
        self.arguments = arguments
        self.outputs = outputs

    def get(self, name: str, default: Any = None) -> Any:
        """Return a plain argument."""
        value = self.arguments.get(name, default)
        return default if value is None else value

    def ref(self, name: str) -> str:
        """Return an argument as a value's name; plain numbers become constants."""
        value = self.arguments.get(name)
        if isinstance(value, Ref):
            return str(value)
        if value is None:
            return ""
        if isinstance(value, list) and any(isinstance(item, Ref) for item in value):
            return self.emitter.emit("pack", *(self._item(item) for item in value))
        return self.emitter.constant(value)

    def refs(self, name: str) -> list[str]:
        """Return a list of values' names."""
        return [self._item(item) for item in self.arguments[name]]

    def _item(self, item: Any) -> str:
        return str(item) if isinstance(item, Ref) else self.emitter.constant(item)

    def emit(self, kind: str, *inputs: str, **attributes: Any) -> None:
        """Add the operator whose outputs are the call's."""
        self.emitter.emit(kind, *inputs, outputs=self.outputs, **attributes)

    def refuse(self, why: str) -> None:
        """Add an unsupported operator."""
        self.emit(UNSUPPORTED, why=why)


def _plain(kind: str, *names: str) -> Callable[[Call], None]:
    return lambda c: c.emit(kind, *(c.ref(name) for name in names))


def _scaled_sum(kind: str) -> Callable[[Call], None]:
    def lower(c: Call) -> None:
        other = c.ref("other")
        if c.get("alpha", 1) != 1:
            other = c.emitter.emit("mul", other, c.ref("alpha"))
        c.emit(kind, c.ref("self"), other)

    return lower


def _div(c: Call) -> None:
    modes = {"None": "div", "floor": "floordiv"}
    kind = modes.get(str(c.get("rounding_mode")))
    c.emit(kind, c.ref("self"), c.ref("other")) if kind else c.refuse("rounding_mode")


def _addmm(c: Call) -> None:
    if c.get("beta", 1) != 1 or c.get("alpha", 1) != 1:
        c.refuse("alpha or beta")
        return
    names = ("batch1", "batch2") if "batch1" in c.arguments else ("mat1", "mat2")
    product = c.emitter.emit("matmul", *(c.ref(name) for name in names))
    c.emit("add", product, c.ref("self"))


def _convolution(c: Call) -> None:
    padding = c.get("padding", [])
    if isinstance(padding, str) or c.get("transposed", False):
        c.refuse("padding" if isinstance(padding, str) else "transposed")
        return
    c.emit(
        "convolution",
        *(c.ref(name) for name in ("input", "weight", "bias")),
        stride=c.get("stride", [1]),
        pads=padding,
        dilation=c.get("dilation", []),
        groups=c.get("groups", 1),
    )


def _layer_norm(c: Call) -> None:
    inputs = [c.ref(name) for name in ("input", "weight", "bias")]
    shape = c.get("normalized_shape", [0])
    c.outputs = c.outputs[:1]
    c.emit("layer_norm", *inputs, dimensions=len(shape), epsilon=float(c.get("eps", 1e-5)))


def _attention(c: Call) -> None:
    if c.get("is_causal", False) or c.get("enable_gqa", False):
        c.refuse("is_causal or enable_gqa")
        return
    names = ("query", "key", "value", "attn_mask")
    c.outputs = c.outputs[:1]
    c.emit("attention", *(c.ref(name) for name in names), scale=c.get("scale"))


def _slice(c: Call) -> None:
    names = {"start": 0, "end": np.iinfo(np.int64).max, "step": 1}
    pack = {
        name: c.emitter.emit("pack", c.ref(name) or c.emitter.constant(default))
        for name, default in names.items()
    }
    axis = c.emitter.constant([c.get("dim", 0)])
    c.emit("slice", c.ref("self"), pack["start"], pack["end"], axis, pack["step"])


def _squeeze(c: Call) -> None:
    dims = c.arguments.get("dim")
    axes = c.emitter.constant(np.atleast_1d(dims)) if dims is not None else ""
    c.emit("squeeze", c.ref("self"), axes)


def _split(c: Call) -> None:
    sizes = c.arguments.get("split_size", c.arguments.get("split_sizes"))
    axis = c.get("dim", 0)
    if isinstance(sizes, list):
        name = "split_size" if "split_size" in c.arguments else "split_sizes"
        c.emit("split", c.ref("self"), c.ref(name), axis=axis)
    else:
        c.emit("split", c.ref("self"), "", axis=axis, by=int(sizes))


def _reduction(kind: str) -> Callable[[Call], None]:
    def lower(c: Call) -> None:
        correction = c.get("correction", 1 if c.get("unbiased", True) else 0)
        if kind == "variance" and correction != 0:
            c.refuse("with correction")
            return
        c.emit(kind, c.ref("self"), c.ref("dim"), keepdims=c.get("keepdim", False))

    return lower


def _var_mean(c: Call) -> None:
    correction = c.get("correction", 1 if c.get("unbiased", True) else 0)
    if correction != 0:
        c.refuse("with correction")
        return
    for kind, output in zip(("variance", "mean"), c.outputs, strict=True):
        keep = c.get("keepdim", False)
        c.emitter.emit(kind, c.ref("self"), c.ref("dim"), outputs=(output,), keepdims=keep)


def _to(c: Call) -> None:
    dtype = c.arguments.get("dtype")
    if dtype is None:
        c.emit("identity", c.ref("self"))
    else:
        c.emit("cast", c.ref("self"), dtype=DTYPES.get(dtype, np.void))


def _full(value: float) -> Callable[[Call], None]:
    def lower(c: Call) -> None:
        fill = c.get("fill_value", value)
        dtype = DTYPES.get(c.get("dtype", 0), np.float32 if isinstance(fill, float) else np.int64)
        c.emit("full", c.ref("size"), value=fill, dtype=dtype)

    return lower


def _arange(c: Call) -> None:
    names = {"start": 0, "end": 0, "step": 1}
    c.emit("range", *(c.ref(name) or c.emitter.constant(d) for name, d in names.items()))


def _permute(c: Call) -> None:
    c.emit("permute", c.ref("self"), axes=c.get("dims"))


def _pool(c: Call) -> None:
    size = np.atleast_1d(c.get("output_size", [0]))
    c.emit("global_pool", c.ref("self")) if (size == 1).all() else c.refuse("output_size not 1")


OPERATORS: dict[str, Callable[[Call], None]] = {
    "aten._softmax": lambda c: c.emit("softmax", c.ref("self"), axis=c.get("dim")),
    "aten._to_copy": _to,
    "aten._unsafe_view": _plain("reshape", "self", "size"),
    "aten.adaptive_avg_pool1d": _pool,
    "aten.adaptive_avg_pool2d": _pool,
    "aten.add": _scaled_sum("add"),
    "aten.add_": _scaled_sum("add"),
    "aten.addmm": _addmm,
    "aten.arange": _arange,
    "aten.baddbmm": _addmm,
    "aten.bmm": _plain("matmul", "self", "mat2"),
    "aten.cat": lambda c: c.emit("concat", *c.refs("tensors"), axis=c.get("dim", 0)),
    "aten.chunk": lambda c: c.emit(
        "split", c.ref("self"), "", axis=c.get("dim", 0), parts=c.get("chunks")
    ),
    "aten.convolution": _convolution,
    "aten.conv1d": _convolution,
    "aten.conv2d": _convolution,
    "aten.div": _div,
    "aten.div_": _div,
    "aten.embedding": _plain("gather", "weight", "indices"),
    "aten.erf": _plain("erf", "self"),
    "aten.exp": _plain("exp", "self"),
    "aten.expand": _plain("expand", "self", "size"),
    "aten.flatten": lambda c: c.emit(
        "flatten", c.ref("self"), start=c.get("start_dim", 0), end=c.get("end_dim", -1)
    ),
    "aten.full": _full(0.0),
    "aten.gelu": lambda c: c.emit(
        "gelu", c.ref("self"), tanh=c.get("approximate", "none") == "tanh"
    ),
    "aten.layer_norm": _layer_norm,
    "aten.linear": _plain("linear", "input", "weight", "bias"),
    "aten.matmul": _plain("matmul", "self", "other"),
    "aten.mean": _reduction("mean"),
    "aten.mm": _plain("matmul", "self", "mat2"),
    "aten.mul": _plain("mul", "self", "other"),
    "aten.mul_": _plain("mul", "self", "other"),
    "aten.native_layer_norm": _layer_norm,
    "aten.neg": _plain("neg", "self"),
    "aten.numpy_T": lambda c: c.emit("permute", c.ref("self")),
    "aten.ones": _full(1.0),
    "aten.permute": _permute,
    "aten.pow": _plain("pow", "self", "exponent"),
    "aten.reciprocal": _plain("reciprocal", "self"),
    "aten.repeat": _plain("tile", "self", "repeats"),
    "aten.reshape": _plain("reshape", "self", "shape"),
    "aten.rsqrt": _plain("rsqrt", "self"),
    "aten.scaled_dot_product_attention": _attention,
    "aten.select": lambda c: c.emit(
        "gather", c.ref("self"), c.ref("index"), axis=c.get("dim", 0)
    ),
    "aten.sigmoid": _plain("sigmoid", "self"),
    "aten.slice": _slice,
    "aten.softmax": lambda c: c.emit("softmax", c.ref("self"), axis=c.get("dim")),
    "aten.split": _split,
    "aten.split_with_sizes": _split,
    "aten.sqrt": _plain("sqrt", "self"),
    "aten.squeeze": _squeeze,
    "aten.sub": _scaled_sum("sub"),
    "aten.sym_size": lambda c: c.emit(
        "gather", c.emitter.emit("shape", c.ref("self")), c.ref("dim"), axis=0
    ),
    "aten.t": lambda c: c.emit("swap", c.ref("self"), a=0, b=1),
    "aten.tanh": _plain("tanh", "self"),
    "aten.transpose": lambda c: c.emit(
        "swap", c.ref("self"), a=c.get("dim0"), b=c.get("dim1")
    ),
    "aten.to": _to,
    "aten.type_as": _plain("identity", "self"),
    "aten.unbind": lambda c: c.emit("unbind", c.ref("self"), axis=c.get("dim", 0)),
    "aten.unflatten": lambda c: c.emit(
        "unflatten", c.ref("self"), c.ref("sizes"), axis=c.get("dim")
    ),
    "aten.unsqueeze": _plain("unsqueeze", "self", "dim"),
    "aten.var": _reduction("variance"),
    "aten.var_mean": _var_mean,
    "aten.view": _plain("reshape", "self", "size"),
    "aten.zeros": _full(0.0),
    **dict.fromkeys(
        (
            "aten.alias",
            "aten.clone",
            "aten.contiguous",
            "aten.detach",
            "aten.detach_",
            "aten.dropout",
            "aten.dropout_",
            "aten.feature_dropout",
            "aten.lift_fresh_copy",
        ),
        lambda c: c.emit("identity", c.ref("input" if "input" in c.arguments else "self")),
    ),
    **{
        f"_operator.{name}": _plain(kind, "a", "b")
        for name, kind in {"add": "add", "sub": "sub", "mul": "mul", "floordiv": "floordiv"}.items()
    },
}
