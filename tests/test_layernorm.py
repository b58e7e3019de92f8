"""models.layernorm against floating point."""

import numpy as np
import pytest

from moesaic.models.layernorm import (
    MAX_VALID,
    Ints,
    layernorm,
    layernorm_constants,
    reciprocal_field,
    row_moments,
)
from moesaic.models.requant import limits

WIDE = {8: 16, 16: 24}


def rows(data_bits: int, n: int, spread: float) -> Ints:
    """Return 40 rows with means and deviations of about `spread` of the full range."""
    low, high = limits(WIDE[data_bits])
    rng = np.random.default_rng(n)
    real = rng.normal(0, spread, (40, n)) + rng.normal(0, spread, (40, 1))
    return np.clip(np.rint(real * high), low, high).astype(np.int64)


def real_layernorm(
    x: Ints, gain: np.ndarray, offset: np.ndarray, scale: float, epsilon: float
) -> np.ndarray:
    real = x * scale
    centred = real - real.mean(axis=1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=1, keepdims=True) + epsilon)
    return np.asarray(centred / deviation * gain + offset)


@pytest.mark.parametrize("n", [64, 192, 768, 4096])
@pytest.mark.parametrize(
    ("data_bits", "spread", "least", "most"),
    [
        (8, 0.1, 33, 37),  # 35 dB is what rounding to 8 bits with a range of 8 deviations leaves
        (8, 0.005, 33, 37),
        (16, 0.1, 80, 85),  # 84 dB is the same for 16 bits
        (16, 0.005, 78, 85),
    ],
)
def test_model_is_layernorm(
    data_bits: int, spread: float, least: float, most: float, n: int
) -> None:
    rng = np.random.default_rng(n + 1)
    gain, offset = rng.normal(1, 0.2, n), rng.normal(0, 0.2, n)
    scale_in, scale_out = 16 / 2 ** (WIDE[data_bits] - 1), 8 / 2 ** (data_bits - 1)
    g, b, shift, epsilon = layernorm_constants(
        gain,
        offset,
        scale_in=scale_in,
        scale_out=scale_out,
        epsilon=1e-6,
        n=n,
        data_bits=data_bits,
    )
    x = rows(data_bits, n, spread)
    y = layernorm(x, g, b, shift=shift, epsilon=epsilon, out_bits=data_bits, data_bits=data_bits)
    exact = real_layernorm(x, gain, offset, scale_in, 1e-6)
    error = y * scale_out - exact
    sqnr = 10 * np.log10((exact**2).mean() / (error**2).mean())
    assert least < sqnr < most
    largest = np.abs(error).max() / scale_out
    assert 0.49 < largest < (0.51 if data_bits == 8 else 4)
    assert abs(error.mean()) < 0.05 * scale_out


@pytest.mark.parametrize("data_bits", [8, 16])
def test_wide_result(data_bits: int) -> None:
    n, wide = 192, WIDE[data_bits]
    scale = 16 / 2 ** (wide - 1)
    ones, zeros = np.ones(n), np.zeros(n)
    g, b, shift, epsilon = layernorm_constants(
        ones, zeros, scale_in=scale, scale_out=scale, epsilon=1e-6, n=n, data_bits=data_bits
    )
    x = rows(data_bits, n, 0.1)
    y = layernorm(x, g, b, shift=shift, epsilon=epsilon, out_bits=wide, data_bits=data_bits)
    error = y * scale - real_layernorm(x, ones, zeros, scale, 1e-6)
    # Half a unit, a unit of z (2**-16), and its relative error.
    assert np.abs(error).max() < scale / 2 + 2.0**-15 + 4 * 2.0**-15
    assert np.abs(error).max() > scale / 4


@pytest.mark.parametrize("data_bits", [8, 16])
def test_constant_rows_become_the_offset(data_bits: int) -> None:
    low, high = limits(WIDE[data_bits])
    rng = np.random.default_rng(5)
    for n in (1, 2, 3, 65, 1000, 4095, MAX_VALID):
        x = np.repeat([[low], [high], [0], [-1], [33], [12345 % high]], n, axis=1)
        offset = rng.integers(-50, 50, n)
        y = layernorm(
            x,
            np.full(n, 32767),
            offset << 16,
            shift=16,
            epsilon=1,
            out_bits=data_bits,
            data_bits=data_bits,
        )
        np.testing.assert_array_equal(y, np.broadcast_to(offset, x.shape))


@pytest.mark.parametrize("data_bits", [8, 16])
def test_one_value_far_from_all_others(data_bits: int) -> None:
    """The largest normalised value there is, sqrt(n - 1), from the largest values there are."""
    low, high = limits(WIDE[data_bits])
    x = np.full((2, MAX_VALID), low)
    x[0, 0] = high
    x[1] = -1 - x[1]
    x[1, 0] = low
    y = layernorm(
        x,
        np.full(MAX_VALID, 1 << 14),
        np.zeros(MAX_VALID, dtype=np.int64),
        shift=14,
        epsilon=1,
        out_bits=24,
        data_bits=16 if data_bits == 16 else 8,
    )
    z = y / 65536
    peak = np.sqrt(MAX_VALID - 1)
    np.testing.assert_allclose(z[:, 0], [peak, -peak], rtol=2.0**-15)
    np.testing.assert_allclose(z[:, 1:], np.repeat([[-1], [1]], 4095, axis=1) / peak, atol=2e-4)


def test_moments_are_exact_enough() -> None:
    x = rows(8, 768, 0.1)
    moments = row_moments(x, epsilon=1, wide_bits=16)
    mean = moments.mean / 2.0**10
    assert np.abs(mean - x.mean(axis=1)).max() < 2.0**-10
    factor = moments.scale * 2.0 ** -(moments.shift + 6.0)
    error = factor * x.std(axis=1) - 1
    assert 2.0**-19 < np.abs(error).max() < 2.0**-15.5


def test_reciprocal_is_nearest() -> None:
    for n in range(1, MAX_VALID + 1):
        field = reciprocal_field(n)
        k, mantissa = field >> 27, field & ((1 << 27) - 1)
        assert field < 1 << 32
        assert n <= 1 << k < 2 * n
        assert abs(mantissa * n - (1 << (26 + k))) <= n / 2


def test_constants_use_the_bits_there_are() -> None:
    rng = np.random.default_rng(6)
    for scale_out in (1e-4, 1e-2, 1.0):
        g, b, shift, epsilon = layernorm_constants(
            rng.normal(1, 0.2, 64),
            rng.normal(0, 0.2, 64),
            scale_in=1e-3,
            scale_out=scale_out,
            epsilon=1e-5,
            n=64,
            data_bits=8,
        )
        assert 0 <= shift <= 40
        assert 1 << 14 <= np.abs(g).max() < 1 << 15 or np.abs(b).max() >= 1 << 30
        assert epsilon == round(1e-5 * 64**2 / 1e-3**2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"gain": np.array([1e9])}, "gain and offset are too large for a result scale of 0.01"),
        ({"scale_in": 1e-12}, r"epsilon must be below 2\*\*40 in units of the variance"),
    ],
)
def test_bad_constants_are_refused(change: dict[str, object], message: str) -> None:
    good: dict[str, object] = {
        "gain": np.ones(1),
        "offset": np.zeros(1),
        "scale_in": 1e-3,
        "scale_out": 0.01,
        "epsilon": 1e-5,
        "n": 1,
        "data_bits": 8,
    }
    arguments = good | change
    with pytest.raises(ValueError, match=message):
        layernorm_constants(arguments.pop("gain"), arguments.pop("offset"), **arguments)  # type: ignore[arg-type]


def test_bad_row_is_refused() -> None:
    zeros = np.zeros(1, dtype=np.int64)
    with pytest.raises(ValueError, match=r"epsilon must be in 1\.\.2\*\*40-1, not 0"):
        layernorm(zeros, zeros, zeros, shift=0, epsilon=0, out_bits=8, data_bits=8)
    with pytest.raises(ValueError, match=r"n must be in 1\.\.4096, not 4097"):
        reciprocal_field(4097)
