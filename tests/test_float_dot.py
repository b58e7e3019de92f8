"""models.float_dot: its order of additions, one by one, by MPFR and by the definition."""

import numpy as np
import pytest

from moesaic.models.accel import NM
from moesaic.models.float_arithmetic import encode, to_words
from moesaic.models.float_dot import dot, sparse_dot
from moesaic.models.float_format import FP16, FP32, OPERANDS, FloatFormat
from moesaic.models.float_select import select_rows
from tests import float_cases, float_oracle

Patterns = np.ndarray[tuple[int, int], np.dtype[np.uint16]]


def matrices(rng: np.random.Generator, fmt: FloatFormat, inner: int) -> tuple[Patterns, Patterns]:
    """Return operands whose sums cancel, round and now and then overflow."""
    words = [float_cases.numbers(rng, lines * inner, fmt) for lines in (7, 5)]
    a, b = (column.reshape(-1, inner).astype(np.uint16) for column in words)
    plain = rng.normal(size=(4, inner)).astype(np.float32)
    a[:4] = encode(plain, fmt)
    b[:3] = encode(plain[:3] * 1.01, fmt)
    return a, b.T.copy()


def one_by_one(a: list[int], b: list[int], rows: int, fmt: FloatFormat) -> int:
    """Compute one output with MPFR, as the module's first sentence says."""

    def add(x: int, y: int) -> int:
        return int(float_oracle.apply(float_oracle.add, [[x], [y]], of=FP32, to=FP32)[0])

    total = FP32.sign
    for first in range(0, len(a), rows):
        pad = [0] * (rows - len(a[first : first + rows]))
        beat = [a[first : first + rows] + pad, b[first : first + rows] + pad]
        level = float_oracle.apply(float_oracle.multiply, beat, of=fmt, to=FP32).tolist()
        while len(level) > 1:
            level = [add(x, y) for x, y in zip(level[::2], level[1::2], strict=True)]
        total = add(total, level[0])
    return total


@pytest.mark.parametrize("fmt", OPERANDS, ids=str)
@pytest.mark.parametrize(("rows", "inner"), [(1, 9), (4, 18), (8, 24), (16, 5)])
def test_order_is_that_of_the_definition(fmt: FloatFormat, rows: int, inner: int) -> None:
    a, b = matrices(np.random.default_rng(rows), fmt, inner)
    result = to_words(dot(a, b, rows=rows, fmt=fmt))
    for i, j in np.ndindex(result.shape):
        assert result[i, j] == one_by_one(a[i].tolist(), b[:, j].tolist(), rows, fmt)


def test_order_shows_in_the_bits() -> None:
    a, b = (
        encode(np.random.default_rng(s).normal(size=(64, 64)).astype("f4"), FP16) for s in (1, 2)
    )
    results = [to_words(dot(a, b, rows=rows, fmt=FP16)) for rows in (1, 4, 8)]
    assert np.mean(results[0] != results[1]) > 0.5
    assert np.mean(results[1] != results[2]) > 0.5


def test_sums_go_on_where_they_were() -> None:
    a, b = matrices(np.random.default_rng(5), FP16, 24)
    half = dot(a[:, :16], b[:16], rows=8, fmt=FP16)
    rest = dot(a[:, 16:], b[16:], rows=8, fmt=FP16, start=half)
    np.testing.assert_array_equal(to_words(rest), to_words(dot(a, b, rows=8, fmt=FP16)))


def test_a_sum_of_minus_zeros_is_minus_zero() -> None:
    a, b = np.full((1, 4), 0x8000, np.uint16), np.full((4, 1), 0x3C00, np.uint16)
    assert to_words(dot(a, b, rows=4, fmt=FP16)) == FP32.sign
    assert to_words(dot(a, b, rows=8, fmt=FP16)) == 0  # the rows left over give +0


@pytest.mark.parametrize("text", ["2:4", "2:8", "4:16"])
def test_sparse_product_is_the_dense_one_of_its_compact_rows(text: str) -> None:
    nm = NM.parse(text)
    rng = np.random.default_rng(nm.m)
    a, weight = matrices(rng, FP16, 4 * nm.m - 3)
    values, indices = select_rows(weight, nm, FP16)
    result = sparse_dot(a, values, indices, nm=nm, rows=4, fmt=FP16)
    filled = np.pad(a, ((0, 0), (0, 3)))
    for j in range(weight.shape[1]):
        places = indices[:, j] + np.arange(len(indices)) // nm.n * nm.m
        alone = dot(filled[:, places], values[:, j : j + 1], rows=4, fmt=FP16)
        np.testing.assert_array_equal(to_words(result[:, j]), to_words(alone[:, 0]))


def test_large_products_are_computed_in_parts() -> None:
    rng = np.random.default_rng(3)
    a, b = (encode(rng.normal(size=s).astype(np.float32), FP16) for s in ((700, 20), (20, 300)))
    whole = dot(a, b, rows=4, fmt=FP16)
    np.testing.assert_array_equal(whole[350:353], dot(a[350:353], b, rows=4, fmt=FP16))


def test_bad_sizes_are_refused() -> None:
    a = np.zeros((2, 3), dtype=np.uint16)
    with pytest.raises(ValueError, match="rows must be a power of two, not 6"):
        dot(a, a.T.copy(), rows=6, fmt=FP16)
    with pytest.raises(ValueError, match=r"cannot multiply \(2, 3\) by \(2, 3\)"):
        dot(a, a, rows=4, fmt=FP16)
    with pytest.raises(ValueError, match="a sum has at least one term, not 0"):
        dot(a[:, :0], a[:0], rows=4, fmt=FP16)
