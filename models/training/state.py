"""The state of training between steps: parameters, momentum, and what products read of them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError
from moesaic.models.float_arithmetic import Patterns, decode, encode
from moesaic.models.float_format import FloatFormat
from moesaic.models.float_select import select_rows
from moesaic.models.network import Floats, Image, Network
from moesaic.models.training.execute import Value, Weights, kept
from moesaic.models.training.step import Kind, Role, Step, Tensor

NEXT = ".next"


def first_state(
    step: Step, parameters: Mapping[str, NDArray[np.float32]], fmt: FloatFormat
) -> dict[str, Value]:
    """Return the tensors of role STATE before the first step: momentum is zero, weights packed."""
    out: dict[str, Value] = {}
    for tensor in step.tensors.values():
        if tensor.role != Role.STATE:
            continue
        if tensor.name in parameters:
            out[tensor.name] = parameters[tensor.name]
        elif tensor.name.endswith(".momentum"):
            out[tensor.name] = np.zeros((tensor.rows, tensor.channels), dtype=np.float32)
        else:
            out[tensor.name] = _read_by_products(step, tensor, parameters, fmt)
    return out


def _read_by_products(
    step: Step, tensor: Tensor, parameters: Mapping[str, NDArray[np.float32]], fmt: FloatFormat
) -> Value:
    """Pack a layer's weights as the step before would have."""
    layer, which = tensor.name.rsplit(".", 1)
    weight = parameters[f"{layer}.weight"]
    forward = step.tensors[f"{layer}.forward"]
    if which == "backward":
        if f"{layer}.pruned" in step.tensors:  # the way back sees what the way forth saw
            weight = _pruned(weight, forward, fmt)
        weight = weight.T
    patterns = encode(np.ascontiguousarray(weight), fmt)
    if tensor.kind == Kind.OPERAND:
        return patterns
    values = np.ascontiguousarray(patterns.T)
    if tensor.nm is None:
        return Weights(values=values, places=None, nm=None)
    kept, places = select_rows(values, tensor.nm, fmt)
    return Weights(values=kept, places=places, nm=tensor.nm)


def _pruned(weight: Floats, forward: Tensor, fmt: FloatFormat) -> Floats:
    patterns: Patterns = encode(weight, fmt)
    if forward.nm is None:
        return weight
    values, places = select_rows(np.ascontiguousarray(patterns.T), forward.nm, fmt)
    return decode(kept(patterns, values, places, forward.nm), fmt)


def next_state(
    step: Step, state: Mapping[str, Value], found: Mapping[str, Value]
) -> dict[str, Value]:
    """Return the state after a step; the old one if the step overflowed, and nothing is lost."""
    overflow = found["overflow"]
    assert isinstance(overflow, np.ndarray)
    if overflow.any():
        return dict(state)
    return {
        tensor.name: found[tensor.name + NEXT]
        for tensor in step.tensors.values()
        if tensor.role == Role.STATE
    }


def inputs(
    step: Step, network: Network, images: Floats, labels: NDArray[np.int64], fmt: FloatFormat
) -> dict[str, Value]:
    """Return the tensors of role INPUT: patches as operands, and minus one at each row's class."""
    source = network.layers[0]
    if not isinstance(source, Image) or not source.patch:
        raise InputError(f"{network.name}: training needs images that are cut into patches")
    count, patch = len(images), source.patch
    shape = (count, source.channels, source.height // patch, patch, source.width // patch, patch)
    patches = images.reshape(shape).transpose(0, 2, 4, 1, 3, 5).reshape(-1, source.values)
    given = step.tensors["labels"]
    marks = np.zeros((given.rows, given.channels), dtype=np.float32)
    marks[np.arange(count), labels] = -1
    return {"image": encode(np.ascontiguousarray(patches, dtype=np.float32), fmt), "labels": marks}
