"""hw.gelu against models.gelu, and models.gelu against the error function."""

import numpy as np
import pytest
from scipy.special import ndtr

from moesaic.hw.gelu import Gelu
from moesaic.models.gelu import (
    SLOPE_BITS,
    VALUE_BITS,
    Ints,
    gelu,
    input_fraction,
    output_bits,
    output_fraction,
    table,
)
from moesaic.models.requant import limits
from moesaic.sim.pipeline_bench import run_pipeline


def codes(wide_bits: int, step: int) -> Ints:
    """Return every `step`-th code, and those beside zero, the joints and the limits."""
    low, high = limits(wide_bits)
    unit = 1 << input_fraction(wide_bits)
    beside = np.array([-2, -1, 0, 1, 2])
    joints = (np.arange(-260, 261) * unit // 32)[:, np.newaxis] + beside
    edges = [low, low + 1, low + 2, high, high - 1]
    return np.concatenate([np.arange(low, high + 1, step), joints.ravel(), edges])


@pytest.mark.parametrize(("wide_bits", "step"), [(16, 1), (24, 97)])
def test_model_is_gelu_within_1e_4(wide_bits: int, step: int) -> None:
    x = codes(wide_bits, step)
    real = x / 2.0 ** input_fraction(wide_bits)
    error = gelu(x, wide_bits) / 2.0 ** output_fraction(wide_bits) - real * ndtr(real)
    assert -8e-5 < error.min() < -5e-5
    assert 5e-5 < error.max() < 8e-5


@pytest.mark.parametrize("wide_bits", [16, 24])
def test_model_at_its_limits(wide_bits: int) -> None:
    low, high = limits(wide_bits)
    y = gelu(np.array([0, low, high]), wide_bits)
    widen = output_fraction(wide_bits) - input_fraction(wide_bits)
    np.testing.assert_array_equal(y, [0, 0, high << widen])
    least, largest = limits(output_bits(wide_bits))
    assert least <= y.min() <= y.max() <= largest


def test_table_fits_its_word_and_ends() -> None:
    values, slopes = table()
    assert 0 <= values.min() <= values.max() < 1 << VALUE_BITS
    least, largest = limits(SLOPE_BITS)
    assert least <= slopes.min() <= slopes.max() <= largest
    assert not values[160:].any()
    assert not slopes[160:].any()


@pytest.mark.parametrize(("wide_bits", "step"), [(16, 1), (24, 5003)])
def test_rtl_equals_model(wide_bits: int, step: int) -> None:
    x = codes(wide_bits, step)
    (y,) = run_pipeline(Gelu(wide_bits=wide_bits), {"x": x}, outputs=["y"])
    np.testing.assert_array_equal(y, gelu(x, wide_bits))
