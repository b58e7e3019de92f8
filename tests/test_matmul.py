"""models.matmul against Python integers, at the edges of both data widths and past 53 bits."""

from itertools import product

import numpy as np
import pytest

from moesaic.models.accel import NM
from moesaic.models.matmul import exact_product, matmul, matmul_sparse
from moesaic.models.requant import Ints, limits
from moesaic.models.sparse import compress, prune

MODES = [NM(n=n, m=m) for n, m in product((1, 2, 4), (4, 8, 16)) if n < m]


def name(value: object) -> str:
    return str(value).replace(":", "of")


def slow(a: Ints, b: Ints) -> np.ndarray:
    """Multiply with Python integers."""
    return a.astype(object) @ b.astype(object)


def operand(bits: int, shape: tuple[int, ...], seed: int) -> Ints:
    """Draw over the whole range, with both edges."""
    low, high = limits(bits)
    x = np.random.default_rng([bits, seed]).integers(low, high, shape, endpoint=True)
    x.flat[:2] = low, high
    return x


@pytest.mark.parametrize("shape", [(1, 1, 2), (3, 40, 5), (2, 700, 3)], ids=str)
@pytest.mark.parametrize("bits", [8, 16])
def test_matmul_is_exact(bits: int, shape: tuple[int, int, int]) -> None:
    t, k, n = shape
    a, b = operand(bits, (t, k), 1), operand(bits, (k, n), 2)
    np.testing.assert_array_equal(matmul(a, b, data_bits=bits), slow(a, b))


@pytest.mark.parametrize("bits", [8, 16])
def test_batches(bits: int) -> None:
    a, b = operand(bits, (3, 4, 9), 3), operand(bits, (3, 9, 5), 4)
    exact = [slow(x, y) for x, y in zip(a, b, strict=True)]
    np.testing.assert_array_equal(matmul(a, b, data_bits=bits), exact)


@pytest.mark.parametrize("widths", [(30, 29), (29, 30), (40, 20), (2, 58)], ids=str)
def test_products_beyond_53_bits_are_split(widths: tuple[int, int]) -> None:
    a, b = operand(widths[0], (3, 7), 5), operand(widths[1], (7, 4), 6)
    exact = slow(a, b)
    assert (exact != (a.astype(float) @ b.astype(float)).astype(object)).any()
    np.testing.assert_array_equal(exact_product(a, b), exact)


@pytest.mark.parametrize("factors", [(4095, 8191), ((1 << 27) - 1, (1 << 27) - 1)], ids=str)
@pytest.mark.parametrize("sign", [1, -1])
def test_odd_sums_just_past_a_float(factors: tuple[int, int], sign: int) -> None:
    """Odd products of 25 and 54 bits: the first that a single and a double round."""
    a, b = np.array([[sign * factors[0]]]), np.array([[factors[1]]])
    assert exact_product(a, b).item() == sign * factors[0] * factors[1]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("nm", MODES, ids=name)
def test_sparse_equals_gathered_sums(nm: NM, bits: int) -> None:
    rows, outputs = 2 * nm.m + 3, 4
    weight = operand(bits, (rows, outputs), 7)
    weight *= prune(weight, nm)
    a = operand(bits, (3, rows), 8)
    values, indices = compress(weight, nm)
    gathered = np.zeros((3, outputs), dtype=object)
    for place, output in np.ndindex(*values.shape):
        k = place // nm.n * nm.m + indices[place, output]
        if k < rows:
            gathered[:, output] += a[:, k].astype(object) * int(values[place, output])
    got = matmul_sparse(a, values, indices, nm, data_bits=bits)
    np.testing.assert_array_equal(got, gathered)
    np.testing.assert_array_equal(got, slow(a, weight))


@pytest.mark.parametrize(("bits", "value"), [(8, 128), (8, -129), (16, 1 << 15)])
def test_wide_operands_are_refused(bits: int, value: int) -> None:
    with pytest.raises(OverflowError, match="operands must be in"):
        matmul(np.array([[value]]), np.array([[1]]), data_bits=bits)


def test_sums_that_overflow_are_refused() -> None:
    fits = (1 << 17) - 1  # times 2**14 stays below 2**31
    a, b = np.full((1, fits + 1), -128), np.full((fits + 1, 1), -128)
    assert matmul(a[:, :fits], b[:fits]).item() == fits << 14
    with pytest.raises(OverflowError, match="does not fit 32 bits"):
        matmul(a, b)
    with pytest.raises(OverflowError, match="64 bits"):
        exact_product(np.array([[1 << 40]]), np.array([[1 << 40]]))
