"""The state of training between steps: parameters, moments, and what products read of them."""

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
MOMENTS = (".momentum", ".second")  # what an optimiser keeps of gradients


def first_state(
    step: Step, parameters: Mapping[str, NDArray[np.float32]], fmt: FloatFormat
) -> dict[str, Value]:
    """Return the tensors of role STATE before the first step: moments are zero, weights packed."""
    out: dict[str, Value] = {}
    for tensor in step.tensors.values():
        if tensor.role != Role.STATE:
            continue
        if tensor.name in parameters:
            out[tensor.name] = parameters[tensor.name]
        elif tensor.name.endswith(MOMENTS):
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
        taps = tensor.rows // weight.shape[1]
        weight = np.concatenate([part.T for part in np.split(weight, taps)])
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
    return given_inputs(step, patches, labels, fmt)


def pixel_inputs(
    step: Step, images: Floats, labels: NDArray[np.int64], fmt: FloatFormat
) -> dict[str, Value]:
    """Return the same for images (count, channels, height, width) whose rows are pixels."""
    pixels = images.transpose(0, 2, 3, 1).reshape(-1, images.shape[1])
    return given_inputs(step, pixels, labels, fmt)


def given_inputs(
    step: Step, rows: Floats, labels: NDArray[np.int64], fmt: FloatFormat
) -> dict[str, Value]:
    """Return image rows as operands, and the marks of their labels."""
    given = step.tensors["labels"]
    marks = np.zeros((given.rows, given.channels), dtype=np.float32)
    marks[np.arange(given.rows), labels] = -1
    return {"image": encode(np.ascontiguousarray(rows, dtype=np.float32), fmt), "labels": marks}
