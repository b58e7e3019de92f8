"""Exact integer matrix products: what the array computes, dense and N:M compressed.

Sums run in float BLAS wherever no partial sum can leave the 24 bits that a single holds exactly, or
the 53 bits of a double, whatever the order of summation; beyond that the larger operand is split.
"""

import numpy as np

from moesaic.models.accel import NM
from moesaic.models.requant import Ints, limits
from moesaic.models.sparse import expand

SINGLE_BITS, DOUBLE_BITS = 24, 53


def acc_bits(data_bits: int) -> int:
    """Bits of an accumulator: 32 for int8 operands, 48 for int16."""
    return 32 if data_bits == 8 else 48


def _largest(x: Ints) -> int:
    """Return the largest magnitude, also where it is that of the most negative integer."""
    return max(int(x.max()), -int(x.min())) if x.size else 0


def exact_product(a: Ints, b: Ints) -> Ints:
    """Return ``a @ b`` of integer arrays (..., T, K) and (..., K, N), exactly, as int64.

    OverflowError where the bound K * max|a| * max|b| leaves int64.
    """
    bound = _largest(a) * _largest(b) * a.shape[-1]
    if bound < 1 << DOUBLE_BITS:
        exact = np.float32 if bound < 1 << SINGLE_BITS else np.float64
        return np.matmul(a.astype(exact), b.astype(exact)).astype(np.int64)
    if bound >= 1 << 63:
        raise OverflowError(f"sums up to {bound} do not fit 64 bits")
    if _largest(a) < _largest(b):
        return exact_product(b.swapaxes(-1, -2), a.swapaxes(-1, -2)).swapaxes(-1, -2)
    half = (_largest(a).bit_length() + 1) // 2
    high = a >> half
    return (exact_product(high, b) << half) + exact_product(a - (high << half), b)


def matmul(a: Ints, b: Ints, *, data_bits: int = 8) -> Ints:
    """Return ``a @ b`` as the array does: int8 into int32 or int16 into int48 accumulators.

    Shapes (..., T, K) and (..., K, N). OverflowError where an operand or a sum does not fit.
    """
    low, high = limits(data_bits)
    for x in (a, b):
        if x.size and (int(x.min()) < low or int(x.max()) > high):
            raise OverflowError(f"operands must be in {low}..{high}, not {x.min()}..{x.max()}")
    acc = exact_product(a, b)
    if _largest(acc) >= 1 << (acc_bits(data_bits) - 1):
        raise OverflowError(f"a sum of {_largest(acc)} does not fit {acc_bits(data_bits)} bits")
    return acc


def matmul_sparse(a: Ints, values: Ints, indices: Ints, nm: NM, *, data_bits: int = 8) -> Ints:
    """Return ``a @ expand(values, indices)`` for compressed weights.

    `values`, `indices` are (groups * n, N) as :func:`moesaic.models.sparse.compress` makes them;
    `a` is (T, K) with K at most groups * m: missing operands count as zero.
    """
    return matmul(a, expand(values, indices, nm, a.shape[-1]), data_bits=data_bits)
