"""hw.row_scale against models.layernorm and models.softmax."""

import numpy as np
import pytest

from moesaic.hw.row_scale import RowScale
from moesaic.models.accel import AccelSpec
from moesaic.models.layernorm import Ints, norm_scale, reciprocal_field
from moesaic.models.softmax import RowSums, row_scale
from moesaic.sim.pipeline_bench import run_pipeline


def make_spec(data_bits: int) -> AccelSpec:
    return AccelSpec(rows=8, columns=4, data_bits=data_bits, lanes=4)


def operands(bits: int, count: int) -> Ints:
    """Return positive integers of every length, those beside powers of two first."""
    rng = np.random.default_rng(bits)
    powers = np.int64(1) << np.arange(bits)
    sample = rng.integers(1, 1 << bits, count) >> rng.integers(0, bits, count)
    return np.maximum(np.concatenate([powers, powers - 1, powers + 1, sample]), 1)


@pytest.mark.parametrize("n", [1, 3, 64, 197, 4095, 4096])
@pytest.mark.parametrize("data_bits", [8, 16])
def test_layernorm_scale(data_bits: int, n: int) -> None:
    spec = make_spec(data_bits)
    variance = operands(59, 200)
    constant = {"root": 1, "valid": n, "exponent": reciprocal_field(n) >> 27}
    inputs = {name: np.full(variance.size, value) for name, value in constant.items()}
    scale, shift = run_pipeline(
        RowScale(spec),
        inputs | {"operand": variance},
        outputs=["scale", "z_shift"],
        latency=RowScale.SCALE_LATENCY,
    )
    expected = norm_scale(variance, n, spec.wide_bits)
    assert expected[0].max() == (1 << 17) - 1 or n & (n - 1)
    np.testing.assert_array_equal(scale, expected[0])
    np.testing.assert_array_equal(shift, expected[1])


@pytest.mark.parametrize(
    ("multiplier", "shift"),
    [(1 << 15, 0), (40001, 17), ((1 << 16) - 1, 25), (0, 63), (1, 40), (40001, 56)],
)
def test_softmax_row_scale(multiplier: int, shift: int) -> None:
    # The largest term alone makes a sum of 2**22 or more.
    total = (1 << 22) + operands(34, 400)
    maximum = np.random.default_rng(1).integers(-(1 << 15), 1 << 15, total.size)
    maximum[::4] &= -256
    inputs = {
        "operand": total,
        "fraction": maximum & 255,
        "multiplier": np.full(total.size, multiplier),
        "shift": np.full(total.size, shift),
    }
    got = run_pipeline(
        RowScale(make_spec(8)),
        inputs,
        outputs=["row_multiplier", "row_shift"],
        latency=RowScale.ROW_LATENCY,
    )
    expected = row_scale(RowSums(maximum=maximum, total=total), multiplier, shift)
    for result, value in zip(got, expected, strict=True):
        np.testing.assert_array_equal(result, value)
