"""hw.requant against models.requant, and models.requant against exact fractions."""

from fractions import Fraction

import numpy as np
import pytest

from moesaic.hw.requant import Requant
from moesaic.hw.round_shift import RoundShift
from moesaic.models.requant import (
    Ints,
    limits,
    quantise_ratio,
    requant,
    round_shift,
    saturate,
)
from moesaic.sim.pipeline_bench import run_pipeline

GRID = [(32, 16), (48, 24), (22, 8), (24, 16)]  # sums, GELU and scaling, for data of 8 and 16 bits


def name(widths: tuple[int, int]) -> str:
    return f"acc{widths[0]}-out{widths[1]}"


def of_every_size(rng: np.random.Generator, bits: int, count: int) -> Ints:
    """Return signed values whose magnitudes are spread over all powers of two, edges first."""
    low, high = limits(bits)
    sample = rng.integers(low, high, count, endpoint=True) >> rng.integers(0, bits, count)
    sample[:6] = low, high, -1, 0, 1, 3
    return sample


@pytest.mark.parametrize("bits", [8, 16, 24])
def test_model_is_round_half_even(bits: int) -> None:
    rng = np.random.default_rng(bits)
    acc = of_every_size(rng, 40, 2000)
    multiplier = rng.integers(0, 1 << 16, acc.size)
    multiplier[::2] = 1 << rng.integers(0, 16, acc[::2].size)  # where ties are
    shift = rng.integers(0, 63, acc.size)
    low, high = limits(bits)
    exact = [
        max(low, min(high, round(Fraction(int(a) * int(m), 1 << int(s)))))
        for a, m, s in zip(acc, multiplier, shift, strict=True)
    ]
    np.testing.assert_array_equal(requant(acc, multiplier, shift, bits), exact)


def test_ratio_is_within_half_a_unit_of_sixteen_bits() -> None:
    for ratio in 2.0 ** np.random.default_rng(1).uniform(-47, 14.9, 1000):
        multiplier, shift = quantise_ratio(float(ratio))
        assert 1 << 15 <= multiplier < 1 << 16
        assert 0 <= shift <= 62
        assert abs(multiplier * 2.0**-shift / ratio - 1) <= 2.0**-16


@pytest.mark.parametrize("widths", [(42, 24), (40, 16), (9, 8)], ids=name)
def test_shift_equals_model(widths: tuple[int, int]) -> None:
    in_bits, out_bits = widths
    rng = np.random.default_rng(in_bits)
    value = of_every_size(rng, in_bits, 1500)
    shift = rng.integers(0, 63, value.size)
    dut = RoundShift(in_bits=in_bits, out_bits=out_bits)
    (result,) = run_pipeline(dut, {"value": value, "shift": shift}, outputs=["result"])
    np.testing.assert_array_equal(result, saturate(round_shift(value, shift), out_bits))


def test_shift_is_right_for_every_code_of_nine_bits() -> None:
    value, shift = (a.ravel() for a in np.meshgrid(np.arange(-256, 256), np.arange(11)))
    (result,) = run_pipeline(
        RoundShift(in_bits=9, out_bits=6), {"value": value, "shift": shift}, outputs=["result"]
    )
    np.testing.assert_array_equal(result, saturate(round_shift(value, shift), 6))


@pytest.mark.parametrize("widths", GRID, ids=name)
def test_rtl_equals_model(widths: tuple[int, int]) -> None:
    acc_bits, out_bits = widths
    rng = np.random.default_rng(acc_bits)
    acc = of_every_size(rng, acc_bits, 2000)
    acc = np.maximum(acc, -(1 << 47) + 1)  # what the model takes
    multiplier = rng.integers(0, 1 << 16, acc.size)
    multiplier[::2] = 1 << rng.integers(0, 16, acc[::2].size)
    shift = rng.integers(0, 63, acc.size)
    # Shifts near those that bring the product into range, where rounding and limits show.
    near = np.maximum(np.log2(np.abs(acc) * multiplier + 1).astype(np.int64) - out_bits, 0)
    shift[1::2] = near[1::2] + rng.integers(0, out_bits, near[1::2].size)
    (result,) = run_pipeline(
        Requant(acc_bits=acc_bits, out_bits=out_bits),
        {"acc": acc, "multiplier": multiplier, "shift": shift},
        outputs=["result"],
    )
    np.testing.assert_array_equal(result, requant(acc, multiplier, shift, out_bits))
