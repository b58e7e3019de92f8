"""ATen operators of exported torch programs in terms of the common list."""

from collections.abc import Callable

from moesaic.models.importing.pt2_calls import (
    Call,
    addmm,
    any_,
    arange,
    attention,
    convolution,
    div,
    full,
    full_like,
    layer_norm,
    permute,
    plain,
    pool,
    reduction,
    scaled_sum,
    slice_,
    split,
    squeeze,
    to,
    var_mean,
)

OPERATORS: dict[str, Callable[[Call], None]] = {
    "aten._softmax": lambda c: c.emit("softmax", c.ref("self"), axis=c.get("dim")),
    "aten._to_copy": to,
    "aten._unsafe_view": plain("reshape", "self", "size"),
    "aten.adaptive_avg_pool1d": pool,
    "aten.adaptive_avg_pool2d": pool,
    "aten.add": scaled_sum("add"),
    "aten.add_": scaled_sum("add"),
    "aten.addmm": addmm,
    "aten.any": any_,
    "aten.arange": arange,
    "aten.baddbmm": addmm,
    "aten.bmm": plain("matmul", "self", "mat2"),
    "aten.cat": lambda c: c.emit("concat", *c.refs("tensors"), axis=c.get("dim", 0)),
    "aten.chunk": lambda c: c.emit(
        "split", c.ref("self"), "", axis=c.get("dim", 0), parts=c.get("chunks")
    ),
    "aten.convolution": convolution,
    "aten.conv1d": convolution,
    "aten.conv2d": convolution,
    "aten.div": div,
    "aten.div_": div,
    "aten.einsum": lambda c: c.emit("einsum", *c.refs("tensors"), equation=c.get("equation")),
    "aten.embedding": plain("gather", "weight", "indices"),
    "aten.erf": plain("erf", "self"),
    "aten.exp": plain("exp", "self"),
    "aten.expand": plain("expand", "self", "size"),
    "aten.flatten": lambda c: c.emit(
        "flatten", c.ref("self"), start=c.get("start_dim", 0), end=c.get("end_dim", -1)
    ),
    "aten.flip": lambda c: c.emit("flip", c.ref("self"), axes=c.get("dims")),
    "aten.full": full(0.0),
    "aten.full_like": full_like(0.0),
    "aten.gather": lambda c: c.emit(
        "gather_elements", c.ref("self"), c.ref("index"), axis=c.get("dim", 0)
    ),
    "aten.gelu": lambda c: c.emit(
        "gelu", c.ref("self"), tanh=c.get("approximate", "none") == "tanh"
    ),
    "aten.index_select": lambda c: c.emit(
        "gather", c.ref("self"), c.ref("index"), axis=c.get("dim", 0)
    ),
    "aten.layer_norm": layer_norm,
    "aten.linear": plain("linear", "input", "weight", "bias"),
    "aten.matmul": plain("matmul", "self", "other"),
    "aten.masked_fill": plain("where", "mask", "value", "self"),
    "aten.mean": reduction("mean"),
    "aten.mm": plain("matmul", "self", "mat2"),
    "aten.mul": plain("mul", "self", "other"),
    "aten.mul_": plain("mul", "self", "other"),
    "aten.native_layer_norm": layer_norm,
    "aten.neg": plain("neg", "self"),
    "aten.numpy_T": lambda c: c.emit("permute", c.ref("self")),
    "aten.ones": full(1.0),
    "aten.ones_like": full_like(1.0),
    "aten.permute": permute,
    "aten.pow": plain("pow", "self", "exponent"),
    "aten.reciprocal": plain("reciprocal", "self"),
    "aten.repeat": plain("tile", "self", "repeats"),
    "aten.reshape": plain("reshape", "self", "shape"),
    "aten.rsqrt": plain("rsqrt", "self"),
    "aten.rsub": plain("sub", "other", "self"),
    "aten.scalar_tensor": plain("identity", "s"),
    "aten._scaled_dot_product_flash_attention_for_cpu": attention,
    "aten.scaled_dot_product_attention": attention,
    "aten.select": lambda c: c.emit("gather", c.ref("self"), c.ref("index"), axis=c.get("dim", 0)),
    "aten.sigmoid": plain("sigmoid", "self"),
    "aten.slice": slice_,
    "aten.softmax": lambda c: c.emit("softmax", c.ref("self"), axis=c.get("dim")),
    "aten.split": split,
    "aten.split_with_sizes": split,
    "aten.sqrt": plain("sqrt", "self"),
    "aten.squeeze": squeeze,
    "aten.sub": scaled_sum("sub"),
    "aten.sym_size": lambda c: c.emit(
        "gather", c.emitter.emit("shape", c.ref("self")), c.ref("dim"), axis=0
    ),
    "aten.t": lambda c: c.emit("swap", c.ref("self"), a=0, b=1),
    "aten.tanh": plain("tanh", "self"),
    "aten.transpose": lambda c: c.emit("swap", c.ref("self"), a=c.get("dim0"), b=c.get("dim1")),
    "aten.to": to,
    "aten.type_as": plain("identity", "self"),
    "aten.unbind": lambda c: c.emit("unbind", c.ref("self"), axis=c.get("dim", 0)),
    "aten.unflatten": lambda c: c.emit(
        "unflatten", c.ref("self"), c.ref("sizes"), axis=c.get("dim")
    ),
    "aten.unsqueeze": plain("unsqueeze", "self", "dim"),
    "aten.var": reduction("variance"),
    "aten.var_mean": var_mean,
    "aten.view": plain("reshape", "self", "size"),
    "aten.where": plain("where", "condition", "self", "other"),
    "aten.zeros": full(0.0),
    "aten.zeros_like": full_like(0.0),
    **{
        f"aten.{name}": plain(kind, "self", "other")
        for name, kind in {
            "bitwise_and": "and",
            "bitwise_or": "or",
            "eq": "equal",
            "ge": "greater_equal",
            "gt": "greater",
            "le": "less_equal",
            "logical_and": "and",
            "logical_or": "or",
            "lt": "less",
        }.items()
    },
    **dict.fromkeys(("aten.logical_not", "aten.bitwise_not"), plain("not", "self")),
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
        f"_operator.{name}": plain(kind, "a", "b")
        for name, kind in {"add": "add", "sub": "sub", "mul": "mul", "floordiv": "floordiv"}.items()
    },
}
