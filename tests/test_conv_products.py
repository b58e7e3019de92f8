"""The three products of a convolution against torch in float64, with each method's own operands."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional
from torch.nn.grad import conv2d_input, conv2d_weight

from moesaic.models.float_format import FP16
from moesaic.models.training.execute import Machine, Value, Weights
from moesaic.models.training.method import METHODS
from moesaic.models.training.pixels import Geometry, Pixels
from moesaic.models.training.state import first_state
from tests.conv_cases import GEOMETRIES, INPUTS, OUTPUTS, lone_conv
from tests.test_training_step import of_method

Doubles = NDArray[np.float64]


def half(x: Value) -> Doubles:
    """Return what is left of fp32 as an operand, or the values of operands."""
    x = np.asarray(x)
    x = x.view(np.float16) if x.dtype == np.uint16 else x.astype(np.float16)
    return x.astype(np.float64)


def pruned(x: Doubles) -> Doubles:
    """Return 2 of 8 along the last axis, by magnitude, the lowest of equals."""
    groups = x.reshape(len(x), -1, 8)
    chosen = np.argsort(-np.abs(groups), axis=-1, kind="stable")[..., :2]
    out = np.zeros_like(groups)
    np.put_along_axis(out, chosen, np.take_along_axis(groups, chosen, -1), -1)
    return out.reshape(x.shape)


def images(rows: Doubles, geometry: Geometry, *, out: bool) -> torch.Tensor:
    """Return (images, channels, height, width)."""
    sides = (geometry.out_height, geometry.out_width) if out else (geometry.height, geometry.width)
    shaped = rows.reshape(geometry.images, *sides, -1).transpose(0, 3, 1, 2)
    return torch.from_numpy(shaped.copy())


def rows_of(x: torch.Tensor) -> Doubles:
    """Return pixels by channels."""
    found: Doubles = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1]).numpy()
    return found


@pytest.mark.parametrize("shape", GEOMETRIES)
@pytest.mark.parametrize("name", METHODS)
def test_each_product_has_its_own_operands(name: str, shape: str) -> None:
    geometry = GEOMETRIES[shape]
    step, given = lone_conv(geometry, of_method(name))
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    kernel, taps = geometry.kernel, geometry.kernel**2
    stride, padding = geometry.stride, geometry.kernel // 2

    def weights(rows: Doubles) -> torch.Tensor:
        shaped = rows.reshape(kernel, kernel, OUTPUTS, INPUTS).transpose(2, 3, 0, 1)
        return torch.from_numpy(shaped.copy())

    own = half(given["conv.weight"])
    forward = backward = own
    if name in ("bdwp", "srste"):
        forward = pruned(own)
    if name in ("bdwp", "sdwp"):
        by_output = own.reshape(taps, OUTPUTS, INPUTS).transpose(0, 2, 1).reshape(-1, OUTPUTS)
        turned = pruned(by_output).reshape(taps, INPUTS, OUTPUTS)
        backward = turned.transpose(0, 2, 1).reshape(own.shape)
    if name == "srste":
        backward = forward
    x, g = images(half(given["x"]), geometry, out=False), half(given["g"])
    to_x = images(pruned(g) if name == "sdgp" else g, geometry, out=True)
    y = functional.conv2d(x, weights(forward), stride=stride, padding=padding)
    check(found["conv.product"], rows_of(y))
    dx = conv2d_input(x.shape, weights(backward), to_x, stride=stride, padding=padding)
    check(found["conv.input"], rows_of(dx))
    shape_of = (OUTPUTS, INPUTS, kernel, kernel)
    whole = images(g, geometry, out=True)
    dw = conv2d_weight(x, shape_of, whole, stride=stride, padding=padding)
    check(found["conv.weight.gradient"], dw.permute(2, 3, 0, 1).reshape(-1, INPUTS).numpy())


def check(got: Value, wanted: Doubles) -> None:
    """Compare sums in fp32 with those in float64."""
    np.testing.assert_allclose(np.asarray(got), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", METHODS)
def test_new_weights_are_packed_as_the_first_were(name: str) -> None:
    step, given = lone_conv(GEOMETRIES["stride-1"], of_method(name))
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    again = first_state(step, {"conv.weight": np.asarray(found["conv.weight.next"])}, FP16)
    for part in ("conv.forward", "conv.backward"):
        got, wanted = found[f"{part}.next"], again[part]
        assert isinstance(got, Weights)
        assert isinstance(wanted, Weights)
        assert got.nm == wanted.nm
        assert (got.values == wanted.values).all()
        if got.nm is not None:
            assert (np.asarray(got.places) == np.asarray(wanted.places)).all()


def test_parts_of_a_grid_are_its_pixels() -> None:
    grid = Pixels(height=3, width=4, in_height=6, in_width=8, y0=-1, x0=1, stride=2)
    places, outside = (part.reshape(2, 3, 4) for part in grid.places(2))
    part = grid.part(y=1, height=2, x=2, width=2)
    got, gone = (each.reshape(2, 2, 2) for each in part.places(2))
    assert (got == places[:, 1:, 2:]).all()
    assert (gone == outside[:, 1:, 2:]).all()
    assert outside[:, 0].all()
    assert not outside[:, 1:].any()
    assert not grid.inside
    assert part.inside
