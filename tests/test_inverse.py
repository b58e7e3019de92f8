"""hw.inverse and hw.exp2 against their models, and the models against floating point."""

import numpy as np
import pytest

from moesaic.hw.exp2 import Exp2
from moesaic.hw.inverse import Inverse
from moesaic.models.exp2 import (
    Ints,
    exp2,
    mantissas,
    power_bits,
    round_power,
    row_mantissas,
)
from moesaic.models.inverse import inverse, inverse_root
from moesaic.models.requant import limits
from moesaic.sim.pipeline_bench import run_pipeline

WIDE = {8: 16, 16: 24}


def of_every_size(bits: int, count: int) -> Ints:
    """Return positive integers of every length, those around powers of two first."""
    rng = np.random.default_rng(bits)
    powers = np.int64(1) << np.arange(bits)
    sample = rng.integers(1, 1 << bits, count) >> rng.integers(0, bits, count)
    return np.maximum(np.concatenate([powers, powers[1:] - 1, powers[1:] + 1, sample]), 1)


@pytest.mark.parametrize("root", [False, True], ids=["reciprocal", "root"])
def test_inverse_model_is_within_2_to_the_minus_17(root: bool) -> None:
    x = np.concatenate([np.arange(1, 1 << 18), of_every_size(60, 200_000)])
    mantissa, exponent = (inverse_root if root else inverse)(x)
    exact = 1 / np.sqrt(x.astype(float)) if root else 1 / x.astype(float)
    error = mantissa * 2.0 ** -(18.0 + exponent) / exact - 1
    assert 1 << 17 <= mantissa.min() <= mantissa.max() < 1 << 18
    assert -(2.0**-17) < error.min() < -(2.0**-18)
    assert 2.0**-18 < error.max() < 2.0**-17


@pytest.mark.parametrize("in_bits", [60, 35])
def test_inverse_rtl_equals_model(in_bits: int) -> None:
    x = of_every_size(in_bits, 1000)
    root = np.random.default_rng(0).integers(0, 2, x.size)
    got = run_pipeline(
        Inverse(in_bits=in_bits), {"x": x, "root": root}, outputs=["mantissa", "exponent"]
    )
    for result, reciprocal, square in zip(got, inverse(x), inverse_root(x), strict=True):
        np.testing.assert_array_equal(result, np.where(root, square, reciprocal))


@pytest.mark.parametrize("data_bits", [8, 16])
def test_tables_of_powers_are_rounded_to_nearest(data_bits: int) -> None:
    power = np.exp2(np.arange(256) / 256)
    qmax = limits(data_bits)[1]
    error = mantissas(data_bits) - qmax * 2.0 ** (16 - data_bits) * power
    assert 0.4 < np.abs(error).max() <= 0.5
    assert 0.4 < np.abs(row_mantissas() - 2.0**17 * power).max() <= 0.5
    assert int(mantissas(data_bits).max()) < 1 << 16


@pytest.mark.parametrize("data_bits", [8, 16])
def test_power_model_is_a_power(data_bits: int) -> None:
    qmax = limits(data_bits)[1]
    difference = -np.arange(1 << 14)
    exact = qmax * np.exp2(difference / 256)
    power = exp2(difference, data_bits)
    # Half a unit of the mantissa's last place, and what the shift cuts off.
    bound = exact * 2.0**-15 / 2 + 2.0**-16
    assert np.all(np.abs(power / 2.0**16 - exact) <= bound)
    narrow = round_power(power)
    assert narrow[0] == qmax
    assert np.all(np.abs(narrow - exact) <= 0.5 + bound)
    assert not round_power(exp2(np.array([-(1 << 20)]), data_bits)).any()
    assert int(power.max()) < 1 << power_bits(data_bits)


@pytest.mark.parametrize("data_bits", [8, 16])
def test_power_rtl_equals_model(data_bits: int) -> None:
    wide_bits = WIDE[data_bits]
    low, high = limits(wide_bits)
    rng = np.random.default_rng(data_bits)
    near = -np.arange(0, 5000, 3)
    far = -(rng.integers(0, 1 << wide_bits, 1000) >> rng.integers(0, wide_bits, 1000))
    difference = np.concatenate([near, far, [low - high - 1, low - high]])
    reference = rng.integers(0, high, difference.size, endpoint=True)
    reference[-2:] = high + 1, high
    x = np.maximum(reference + difference, low)
    real = rng.integers(0, 8, x.size) > 0
    real[-2:] = True
    dut = Exp2(wide_bits=wide_bits, data_bits=data_bits)
    inputs = {"x": x, "reference": reference, "real": real.astype(np.int64)}
    expected = np.where(real, exp2(x - reference, data_bits), 0)
    power, narrow = run_pipeline(dut, inputs, outputs=["power", "narrow"])
    np.testing.assert_array_equal(power, expected)
    # `narrow` comes a cycle later.
    np.testing.assert_array_equal(narrow[1:], round_power(expected)[:-1])
