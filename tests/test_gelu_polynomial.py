"""hw.gelu_polynomial against its model, and the model against I-BERT's formula and erf GELU."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import ndtr

from moesaic.hw.gelu_polynomial import GeluPolynomial
from moesaic.models.gelu import Ints, input_fraction, output_bits, output_fraction
from moesaic.models.gelu_polynomial import END, POINT, gelu_polynomial
from moesaic.models.requant import limits
from moesaic.sim.pipeline_bench import run_pipeline

Floats = NDArray[np.float64]


def codes(wide_bits: int, step: int) -> Ints:
    """Return every `step`-th code, and those beside zero, the ends and the limits."""
    low, high = limits(wide_bits)
    last = END >> (POINT - input_fraction(wide_bits))
    joints = np.array([-last, 0, last])[:, np.newaxis] + np.arange(-40, 41)
    edges = [low, low + 1, low + 2, high, high - 1]
    return np.concatenate([np.arange(low, high + 1, step), joints.ravel(), edges])


def reals(wide_bits: int, step: int) -> Floats:
    return codes(wide_bits, step) / 2.0 ** input_fraction(wide_bits)


def errors(wide_bits: int, step: int, expected: Floats) -> Floats:
    """Return what the model gives for the codes, less what is expected."""
    y = gelu_polynomial(codes(wide_bits, step), wide_bits)
    return y / 2.0 ** output_fraction(wide_bits) - expected


@pytest.mark.parametrize(("wide_bits", "step"), [(16, 1), (24, 97)])
def test_model_is_gelu_within_19e_3(wide_bits: int, step: int) -> None:
    x = reals(wide_bits, step)
    error = errors(wide_bits, step, x * ndtr(x))
    assert -9.9e-3 < error.min() < -9.7e-3
    assert 18.1e-3 < error.max() < 18.2e-3


@pytest.mark.parametrize(("wide_bits", "step", "limit"), [(16, 1, 0.9), (24, 97, 2.1)])
def test_model_is_the_formula_of_i_bert(wide_bits: int, step: int, limit: float) -> None:
    """To that many units of the result: rounding it is half a unit."""
    x = reals(wide_bits, step)
    a, b = -0.2888, -1.769
    erf = np.sign(x) * (a * (np.minimum(np.abs(x / 2**0.5), -b) + b) ** 2 + 1)
    units = errors(wide_bits, step, x / 2 * (1 + erf)) * 2 ** output_fraction(wide_bits)
    assert -limit < units.min() < -0.8 * limit
    assert 0.8 * limit < units.max() < limit


@pytest.mark.parametrize("wide_bits", [16, 24])
def test_model_at_its_limits(wide_bits: int) -> None:
    low, high = limits(wide_bits)
    last = 1 + (END >> (POINT - input_fraction(wide_bits)))
    y = gelu_polynomial(np.array([0, low, -last, last, high]), wide_bits)
    widen = output_fraction(wide_bits) - input_fraction(wide_bits)
    np.testing.assert_array_equal(y, [0, 0, 0, last << widen, high << widen])
    least, largest = limits(output_bits(wide_bits))
    assert least <= y.min() <= y.max() <= largest


@pytest.mark.parametrize(("wide_bits", "step"), [(16, 1), (24, 5003)])
def test_rtl_equals_model(wide_bits: int, step: int) -> None:
    x = codes(wide_bits, step)
    (y,) = run_pipeline(GeluPolynomial(wide_bits=wide_bits), {"x": x}, outputs=["y"])
    np.testing.assert_array_equal(y, gelu_polynomial(x, wide_bits))
