"""models.softmax against floating point and against its own definition in exact integers."""

import numpy as np
import pytest

from moesaic.models.exp2 import mantissas
from moesaic.models.requant import limits, quantise_ratio, requant
from moesaic.models.softmax import Ints, row_sums, softmax

WIDE = {8: 16, 16: 24}


def scores(data_bits: int, spread: float, shape: tuple[int, int], seed: int = 0) -> Ints:
    low, high = limits(WIDE[data_bits])
    real = np.random.default_rng(seed).normal(0, spread * 256, shape)
    return np.clip(np.rint(real), low, high).astype(np.int64)


def real_softmax(x: Ints) -> np.ndarray:
    powers = np.exp2((x - x.max(axis=-1, keepdims=True)) / 256)
    return powers / powers.sum(axis=-1, keepdims=True)


@pytest.mark.parametrize("valid", [1, 3, 197, 1000])
@pytest.mark.parametrize("spread", [0.1, 2.0, 30.0])
@pytest.mark.parametrize("data_bits", [8, 16])
def test_model_is_softmax(data_bits: int, spread: float, valid: int) -> None:
    x = scores(data_bits, spread, (200, valid))
    multiplier, shift = quantise_ratio(0.37)
    probs, row_multiplier, row_shift = softmax(
        x, valid=valid, multiplier=multiplier, shift=shift, lanes=16, data_bits=data_bits
    )
    qmax = limits(data_bits)[1]
    exact = real_softmax(x)
    unnormalised = qmax * exact / exact.max(axis=1, keepdims=True)
    assert np.all(probs.max(axis=1) == qmax)
    assert np.all(np.abs(probs - unnormalised) <= 0.5 + 2.0**-8 + unnormalised * 2.0**-16)

    # The row's ratio against the real sum: the tables, the cuts and the last rounding.
    ratio = row_multiplier * 2.0 ** -row_shift.astype(float)
    error = ratio / (0.37 * exact.max(axis=1) / qmax) - 1
    assert np.all((row_multiplier >= 1 << 15) & (row_multiplier < 1 << 16))
    assert np.abs(error).max() < 6 * 2.0**-16


@pytest.mark.parametrize(("data_bits", "bound"), [(8, 1.2), (16, 1.6)])
def test_error_of_the_whole_attention(data_bits: int, bound: float) -> None:
    """With values of the full range and a result of the same scale; in units of the result."""
    x = scores(data_bits, 1.0, (300, 65))
    low, high = limits(data_bits)
    v = np.random.default_rng(2).integers(low, high, (65, 32), endpoint=True)
    multiplier, shift = quantise_ratio(1.0)
    probs, row_multiplier, row_shift = softmax(
        x, valid=65, multiplier=multiplier, shift=shift, lanes=8, data_bits=data_bits
    )
    mixed = requant(probs @ v, row_multiplier[:, None], row_shift[:, None], data_bits)
    error = mixed - real_softmax(x) @ v
    rms = float(np.sqrt((error**2).mean()))
    assert 0.28 < rms < bound / 2  # 0.29 is what rounding alone costs
    assert abs(error.mean()) < 0.05


def test_sum_follows_its_definition() -> None:
    """The running sum, beat by beat, in Python's integers."""
    x = np.sort(scores(8, 4.0, (20, 24), seed=3), axis=1)  # rising: rescaled at almost every beat
    sums = row_sums(x, lanes=4, data_bits=8)
    table = mantissas(8).tolist()
    for row, maximum, total in zip(x.tolist(), sums.maximum, sums.total, strict=True):
        reference, acc = -(-row[0] // 256), 0
        for first in range(0, 24, 4):
            top = -(-max(row[: first + 4]) // 256)
            acc >>= top - reference
            reference = top
            acc += sum((table[v % 256] << 8) >> (top - v // 256) for v in row[first : first + 4])
        assert (maximum, total) == (max(row), acc)
        exact = sum(2.0 ** ((v - 256 * reference) / 256) for v in row)
        assert abs(float(acc / (127 * 65536 * exact)) - 1) < 2.0**-14


def test_sum_of_several_passes_follows_its_definition() -> None:
    """All powers below the row's maximum rounded up, in Python's integers, whatever the beats."""
    x = np.sort(scores(8, 4.0, (20, 24), seed=3), axis=1)
    table = mantissas(8).tolist()
    for lanes, passes in ((4, 2), (16, 2), (4, 3)):
        sums = row_sums(x, lanes=lanes, data_bits=8, passes=passes)
        for row, maximum, total in zip(x.tolist(), sums.maximum, sums.total, strict=True):
            top = -(-max(row) // 256)
            assert (maximum, total) == (
                max(row),
                sum((table[v % 256] << 8) >> (top - v // 256) for v in row),
            )


@pytest.mark.parametrize("spread", [2.0, 8.0])
@pytest.mark.parametrize("data_bits", [8, 16])
def test_passes_agree_but_for_last_bits(data_bits: int, spread: float) -> None:
    """Probabilities are the same; cut one by one, 1000 powers lose at most 1000 units of a sum."""
    x = np.sort(scores(data_bits, spread, (200, 1000), seed=5), axis=1)
    one, two, three = (
        softmax(
            x,
            valid=1000,
            multiplier=40000,
            shift=20,
            lanes=8,
            data_bits=data_bits,
            passes=passes,
        )
        for passes in (1, 2, 3)
    )
    for a, b, c in zip(one, two, three, strict=True):
        np.testing.assert_array_equal(b, c)
        if a.shape == x.shape:
            np.testing.assert_array_equal(a, b)
    ratios = [out[1] * 2.0 ** -out[2].astype(float) for out in (one, two)]
    error = ratios[1] / ratios[0] - 1
    unit = 1000 / (limits(data_bits)[1] << 15)  # a sum is at least half a power of zero
    assert np.abs(error).max() <= unit + 2.0**-15
    different = np.count_nonzero(error)
    assert 5 <= different < 200 if data_bits == 8 else different <= 2


def test_order_of_beats_is_part_of_the_numerics() -> None:
    x = np.sort(scores(8, 6.0, (50, 256), seed=4), axis=1)
    totals = [row_sums(x, lanes=lanes, data_bits=8).total for lanes in (4, 64)]
    assert (totals[0] != totals[1]).any()


def test_values_beyond_valid_do_not_count() -> None:
    x = scores(8, 2.0, (10, 20))
    short = softmax(x[:, :13], valid=13, multiplier=40000, shift=20, lanes=4, data_bits=8)
    full = softmax(x, valid=13, multiplier=40000, shift=20, lanes=4, data_bits=8)
    np.testing.assert_array_equal(full[0][:, :13], short[0])
    assert not full[0][:, 13:].any()
    for a, b in zip(full[1:], short[1:], strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("data_bits", [8, 16])
def test_extreme_scores(data_bits: int) -> None:
    low, high = limits(WIDE[data_bits])
    qmax = limits(data_bits)[1]
    x = np.array([[low, low, low, low], [high, high, high, high], [low, high, low, low]])
    probs, multiplier, shift = softmax(
        x, valid=4, multiplier=1 << 15, shift=15, lanes=4, data_bits=data_bits
    )
    np.testing.assert_array_equal(probs, [[qmax] * 4, [qmax] * 4, [0, qmax, 0, 0]])
    ratio = multiplier * 2.0 ** -shift.astype(float) * qmax
    np.testing.assert_allclose(ratio, [0.25, 0.25, 1.0], rtol=2.0**-15)


def test_longest_row() -> None:
    x = np.zeros((1, 4096), dtype=np.int64)
    _, multiplier, shift = softmax(
        x, valid=4096, multiplier=1 << 15, shift=15, lanes=4, data_bits=16
    )
    np.testing.assert_allclose(multiplier * 2.0**-shift * 32767 * 4096, [1.0], rtol=2.0**-15)


def test_ratio_too_small_is_zero() -> None:
    x = np.zeros((1, 64), dtype=np.int64)
    _, multiplier, shift = softmax(x, valid=64, multiplier=50000, shift=60, lanes=4, data_bits=8)
    assert (multiplier.tolist(), shift.tolist()) == ([0], [63])


def test_bad_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"valid must be in 1\.\.8, not 9"):
        softmax(
            np.zeros((1, 8), dtype=np.int64),
            valid=9,
            multiplier=1,
            shift=0,
            lanes=4,
            data_bits=8,
        )


def test_bad_passes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"passes must be 1, 2 or 3, not 4"):
        softmax(
            np.zeros((1, 8), dtype=np.int64),
            valid=8,
            multiplier=1,
            shift=0,
            lanes=4,
            data_bits=8,
            passes=4,
        )
