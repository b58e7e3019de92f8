"""Calls of ATen operators, and how those are lowered that need more than a name."""

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

    def refuse(self, why: str = "") -> None:
        """Add an unsupported operator, of all values that it reads."""
        read: list[str] = []
        for value in self.arguments.values():
            items = value if isinstance(value, list) else [value]
            read += [str(item) for item in items if isinstance(item, Ref)]
        self.emit(UNSUPPORTED, *read, why=why)


def plain(kind: str, *names: str) -> Callable[[Call], None]:
    """Lower to `kind` with the arguments `names` as inputs."""
    return lambda c: c.emit(kind, *(c.ref(name) for name in names))


def scaled_sum(kind: str) -> Callable[[Call], None]:
    """Lower ``self + alpha * other`` or its difference."""

    def lower(c: Call) -> None:
        other = c.ref("other")
        if c.get("alpha", 1) != 1:
            other = c.emitter.emit("mul", other, c.ref("alpha"))
        c.emit(kind, c.ref("self"), other)

    return lower


def div(c: Call) -> None:
    """Division, also rounded down."""
    modes = {"None": "div", "floor": "floordiv"}
    kind = modes.get(str(c.get("rounding_mode")))
    c.emit(kind, c.ref("self"), c.ref("other")) if kind else c.refuse("rounding_mode")


def addmm(c: Call) -> None:
    """``self + a @ b`` without factors."""
    if c.get("beta", 1) != 1 or c.get("alpha", 1) != 1:
        c.refuse("alpha or beta")
        return
    names = ("batch1", "batch2") if "batch1" in c.arguments else ("mat1", "mat2")
    product = c.emitter.emit("matmul", *(c.ref(name) for name in names))
    c.emit("add", product, c.ref("self"))


def convolution(c: Call) -> None:
    """Convolution with numbers as padding."""
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


def layer_norm(c: Call) -> None:
    """LayerNorm; further outputs are left out."""
    inputs = [c.ref(name) for name in ("input", "weight", "bias")]
    shape = c.get("normalized_shape", [0])
    c.outputs = c.outputs[:1]
    c.emit("layer_norm", *inputs, dimensions=len(shape), epsilon=float(c.get("eps", 1e-5)))


def attention(c: Call) -> None:
    """Scaled dot-product attention."""
    if c.get("is_causal", False) or c.get("enable_gqa", False):
        c.refuse("is_causal or enable_gqa")
        return
    names = ("query", "key", "value", "attn_mask")
    c.outputs = c.outputs[:1]
    c.emit("attention", *(c.ref(name) for name in names), scale=c.get("scale"))


def slice_(c: Call) -> None:
    """Slice along one axis."""
    names = {"start": 0, "end": np.iinfo(np.int64).max, "step": 1}
    pack = {
        name: c.emitter.emit("pack", c.ref(name) or c.emitter.constant(default))
        for name, default in names.items()
    }
    axis = c.emitter.constant([c.get("dim", 0)])
    c.emit("slice", c.ref("self"), pack["start"], pack["end"], axis, pack["step"])


def squeeze(c: Call) -> None:
    """Drop axes of size 1."""
    dims = c.arguments.get("dim")
    axes = c.emitter.constant(np.atleast_1d(dims)) if dims is not None else ""
    c.emit("squeeze", c.ref("self"), axes)


def split(c: Call) -> None:
    """Split by one size or by several."""
    sizes = c.arguments.get("split_size", c.arguments.get("split_sizes"))
    axis = c.get("dim", 0)
    if isinstance(sizes, list):
        name = "split_size" if "split_size" in c.arguments else "split_sizes"
        c.emit("split", c.ref("self"), c.ref(name), axis=axis)
    else:
        c.emit("split", c.ref("self"), "", axis=axis, by=int(sizes or 0))


def reduction(kind: str) -> Callable[[Call], None]:
    """Mean or variance over axes."""

    def lower(c: Call) -> None:
        correction = c.get("correction", 1 if c.get("unbiased", True) else 0)
        if kind == "variance" and correction != 0:
            c.refuse("with correction")
            return
        c.emit(kind, c.ref("self"), c.ref("dim"), keepdims=c.get("keepdim", False))

    return lower


def var_mean(c: Call) -> None:
    """Variance and mean together."""
    correction = c.get("correction", 1 if c.get("unbiased", True) else 0)
    if correction != 0:
        c.refuse("with correction")
        return
    for kind, output in zip(("variance", "mean"), c.outputs, strict=True):
        keep = c.get("keepdim", False)
        c.emitter.emit(kind, c.ref("self"), c.ref("dim"), outputs=(output,), keepdims=keep)


def to(c: Call) -> None:
    """Change of type or of nothing."""
    dtype = c.arguments.get("dtype")
    if dtype is None:
        c.emit("identity", c.ref("self"))
    else:
        c.emit("cast", c.ref("self"), dtype=DTYPES.get(dtype, np.void))


def full(value: float) -> Callable[[Call], None]:
    """Fill a constant with `value` or fill_value."""

    def lower(c: Call) -> None:
        fill = c.get("fill_value", value)
        dtype = DTYPES.get(c.get("dtype", 0), np.float32 if isinstance(fill, float) else np.int64)
        c.emit("full", c.ref("size"), value=fill, dtype=dtype)

    return lower


def full_like(value: float) -> Callable[[Call], None]:
    """Fill a constant of another tensor's shape."""

    def lower(c: Call) -> None:
        fill = c.get("fill_value", value)
        shape = c.emitter.emit("shape", c.ref("self"))
        c.emit("full", shape, value=fill, dtype=DTYPES.get(c.get("dtype", 7), np.float32))

    return lower


def any_(c: Call) -> None:
    """Whether any element is true."""
    c.emit("any", c.ref("self"), c.ref("dim"), keepdims=c.get("keepdim", False))


def arange(c: Call) -> None:
    """Count from start to end."""
    names = {"start": 0, "end": 0, "step": 1}
    c.emit("range", *(c.ref(name) or c.emitter.constant(d) for name, d in names.items()))


def permute(c: Call) -> None:
    """Permute all axes."""
    c.emit("permute", c.ref("self"), axes=c.get("dims"))


def pool(c: Call) -> None:
    """Average pooling to one value."""
    size = np.atleast_1d(c.get("output_size", [0]))
    c.emit("global_pool", c.ref("self")) if (size == 1).all() else c.refuse("output_size not 1")
