"""Numbers for a layer alone: the same layer has the same ones however it is cut."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from moesaic.models.float_arithmetic import encode
from moesaic.models.float_format import FloatFormat
from moesaic.models.float_select import select_rows
from moesaic.models.network import Floats
from moesaic.models.training.execute import Value, Weights
from moesaic.models.training.layer_step import LayerStep, Piece
from moesaic.models.training.step import Kind, Role, Step, Tensor
from moesaic.models.training.strips import Strip

Draw = Callable[..., NDArray[np.float64]]


def layer_data(plan: LayerStep, fmt: FloatFormat, seed: int) -> dict[str, Value]:
    """Return the tensors of roles INPUT and STATE of a layer's step; momentum is not zero.

    Weights are of He et al.'s deviation, inputs of 1, gradients of 1/8.
    """
    draw = np.random.default_rng(seed).standard_normal
    images, layer = plan.b.batch, plan.layer
    if plan.convolution:
        x = draw((images, layer.size, layer.size, plan.inputs))
        g = draw((images, layer.out_size, layer.out_size, layer.outputs)) / 8
    else:
        x = draw((images * layer.rows, plan.inputs))
        g = draw((images * layer.rows, layer.outputs)) / 8
    weights = draw((plan.taps, layer.outputs, plan.inputs)) * (2 / layer.channels) ** 0.5
    speeds = draw(weights.shape) / 64
    out: dict[str, Value] = {}
    for tensor in plan.b.step.tensors.values():
        kind, *rest = tensor.name.split(".")
        if tensor.role == Role.INPUT:
            part = _part(x if kind == "x" else g, plan.pieces[int(rest[0])], gradient=kind == "g")
            out[tensor.name] = encode(part.astype(np.float32), fmt)
        elif tensor.role == Role.STATE:
            first, count = plan.out_blocks[int(rest[1])]
            source = speeds if rest[-1] == "momentum" else weights
            block = source[int(rest[0]), first : first + count].astype(np.float32)
            if kind == "backward":
                first, count = plan.in_blocks[int(rest[2])]
                block = block[:, first : first + count].T
            out[tensor.name] = block if tensor.kind == Kind.FLOAT else _packed(tensor, block, fmt)
    return out


def attention_data(step: Step, fmt: FloatFormat, seed: int) -> dict[str, Value]:
    """Return the tensors of role INPUT of an attention's step, of deviation 1."""
    draw = np.random.default_rng(seed).standard_normal
    out: dict[str, Value] = {}
    for tensor in step.tensors.values():
        if tensor.role == Role.INPUT:
            value = draw((tensor.rows, tensor.channels)).astype(np.float32)
            out[tensor.name] = value if tensor.kind == Kind.FLOAT else encode(value, fmt)
    return out


def _part(
    whole: NDArray[np.float64], piece: Strip | Piece, *, gradient: bool
) -> NDArray[np.float64]:
    """Return the rows of a piece."""
    if isinstance(piece, Piece):
        return whole[piece.row : piece.row + piece.rows]
    lines = (piece.g_first, piece.g_last) if gradient else (piece.x_first, piece.x_last)
    part = whole[piece.image : piece.image + piece.images, slice(*lines)]
    return part.reshape(-1, whole.shape[-1])


def _packed(tensor: Tensor, block: Floats, fmt: FloatFormat) -> Weights:
    values = np.ascontiguousarray(encode(np.ascontiguousarray(block), fmt).T)
    if tensor.nm is None:
        return Weights(values=values, places=None, nm=None)
    kept, places = select_rows(values, tensor.nm, fmt)
    return Weights(values=kept, places=places, nm=tensor.nm)
