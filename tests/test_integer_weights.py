"""models.integer_weights: the scale of a column, its bias and its ratio."""

from fractions import Fraction

import numpy as np
import pytest

from moesaic.models.errors import InputError
from moesaic.models.integer_weights import integer_linear, ratio, weight_scales
from moesaic.models.network import Linear


def linear(weight: np.ndarray, bias: np.ndarray) -> Linear:
    return Linear(name="fc", x="x", weight=weight.astype(np.float32), bias=bias.astype(np.float32))


@pytest.mark.parametrize("bits", [8, 16])
def test_integers_stand_for_the_weights(bits: int) -> None:
    rng = np.random.default_rng(4)
    layer = linear(rng.standard_normal((64, 9)), rng.standard_normal(9))
    layer.weight[:, 3] *= 1e-3
    got = integer_linear(layer, scale_in=0.02, scale_out=0.05, bits=bits)
    for n in range(9):
        unit = Fraction(int(got.multiplier[n]), 1 << int(got.shift[n])) * Fraction(5, 2)
        error = np.abs(got.weight[:, n] * float(unit) - layer.weight[:, n])
        top = np.abs(layer.weight[:, n]).max()
        # Half a step of rounding, and in 8 bits what clipping cuts off.
        assert np.median(error) <= 0.51 * float(unit)
        assert error.max() <= (0.3 * top if bits == 8 else 0.51 * float(unit))
        assert abs(float(got.bias[n] * unit * Fraction(1, 50)) - layer.bias[n]) <= 0.011 * unit
        largest = (1 << (bits - 1)) - 1
        reached = np.abs(got.weight[:, n]).max()
        # In 16 bits the small column has the least ratio that there is, 2**-24.
        assert reached == largest or (n == 3 and bits == 16 and largest / 4 < reached < largest)


def test_scales_have_the_least_error() -> None:
    """No clipping in a wide neighbourhood does better, by direct evaluation."""
    weight = np.random.default_rng(5).laplace(size=(256, 3)).astype(np.float32)

    def error(column: np.ndarray, scale: float) -> float:
        return float(((np.clip(np.rint(column / scale), -127, 127) * scale - column) ** 2).sum())

    for column, scale in zip(weight.T, weight_scales(weight, 8), strict=True):
        top = np.abs(column).max() / 127
        best = min(error(column, f * top) for f in np.linspace(0.5, 1.2, 200))
        assert error(column, scale) <= 1.25 * best
        assert error(column, scale) <= error(column, top)


def test_ratios() -> None:
    assert ratio(1.0, "fc") == (1 << 15, 15)
    assert ratio(2.0**-60, "fc") == (0, 0)
    for value in (2.0**15, float("nan"), float("inf")):
        with pytest.raises(InputError, match=r"fc: scale ratio must be in 0\.\.32767"):
            ratio(value, "fc")


def test_a_large_bias_beside_tiny_weights_fits() -> None:
    layer = linear(np.array([[1e-12, 1e-3]]), np.array([100.0, 100.0]))
    got = integer_linear(layer, scale_in=1e-4, scale_out=1e-5, bits=16)
    for n in range(2):
        out = Fraction(int(got.bias[n]) * int(got.multiplier[n]), 1 << int(got.shift[n]))
        assert float(out) == pytest.approx(100 / 1e-5, rel=2**-15)
