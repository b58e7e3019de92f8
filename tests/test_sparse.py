"""models.sparse against group-by-group Python loops, for every N:M that the array can decode."""

from itertools import product

import numpy as np
import pytest

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.sparse import check_nm, compress, expand, is_nm, prune

MODES = [NM(n=n, m=m) for n, m in product((1, 2, 4), (4, 8, 16)) if n < m]
SHAPES = [(16, 1), (48, 5), (21, 3), (3, 2)]  # whole groups, and a last group that is not


def cases() -> list[tuple[NM, int, int]]:
    return [(nm, rows, outputs) for nm, (rows, outputs) in product(MODES, SHAPES)]


def name(value: object) -> str:
    return str(value).replace(":", "of")


def weights(rows: int, outputs: int, seed: int) -> np.ndarray:
    """Return small integers: plenty of ties and zeros."""
    return np.random.default_rng([seed, rows]).integers(-3, 4, (rows, outputs))


def slow_mask(column: list[int], nm: NM) -> list[bool]:
    """Keep the N best of each group by (largest magnitude, lowest index)."""
    mask = [False] * len(column)
    for start in range(0, len(column), nm.m):
        group = range(start, min(start + nm.m, len(column)))
        for k in sorted(group, key=lambda k: (-abs(column[k]), k))[: nm.n]:
            mask[k] = True
    return mask


def slow_compress(column: list[int], nm: NM) -> tuple[list[int], list[int]]:
    """Compress one column, a set of places at a time."""
    values, indices = [], []
    for start in range(0, len(column), nm.m):
        group = (column[start : start + nm.m] + [0] * nm.m)[: nm.m]
        places = {k for k in range(nm.m) if group[k]}
        for k in range(nm.m):
            if len(places) < nm.n:
                places.add(k)
        indices += sorted(places)
        values += [group[k] for k in sorted(places)]
    return values, indices


@pytest.mark.parametrize(("nm", "rows", "outputs"), cases(), ids=name)
def test_prune_keeps_the_largest(nm: NM, rows: int, outputs: int) -> None:
    weight = weights(rows, outputs, seed=1)
    mask = prune(weight, nm)
    assert mask.T.tolist() == [slow_mask(column, nm) for column in weight.T.tolist()]
    assert is_nm(weight * mask, nm)
    np.testing.assert_array_equal(prune(weight.astype(np.float32), nm), mask)


@pytest.mark.parametrize(("nm", "rows", "outputs"), cases(), ids=name)
def test_compress_and_expand(nm: NM, rows: int, outputs: int) -> None:
    weight = weights(rows, outputs, seed=2)
    weight *= prune(weight, nm)
    values, indices = compress(weight, nm)
    slow = [slow_compress(column, nm) for column in weight.T.tolist()]
    assert values.T.tolist() == [values for values, _ in slow]
    assert indices.T.tolist() == [indices for _, indices in slow]
    np.testing.assert_array_equal(expand(values, indices, nm, rows), weight)


def test_ties_keep_the_lowest_index_and_zeros_fill_the_lowest_places() -> None:
    nm = NM(n=2, m=4)
    assert prune(np.array([[-5], [5], [5], [-5]]), nm)[:, 0].tolist() == [True, True, False, False]
    values, indices = compress(np.array([[0], [0], [0], [7]]), nm)
    assert (values[:, 0].tolist(), indices[:, 0].tolist()) == ([0, 7], [0, 3])


def test_most_negative_int8_is_the_largest() -> None:
    weight = np.array([[127], [-128], [1], [1]], dtype=np.int8)
    assert prune(weight, NM(n=1, m=4))[:, 0].tolist() == [False, True, False, False]


@pytest.mark.parametrize("nm", MODES, ids=name)
def test_dense_weights_are_refused(nm: NM) -> None:
    weight = np.zeros((2 * nm.m + 3, 2), dtype=np.int64)
    weight[nm.m : nm.m + nm.n, 1] = 1
    check_nm(weight, nm)
    weight[nm.m + nm.n, 1] = -1
    message = f"weights must be {nm}, but rows {nm.m}..{2 * nm.m - 1} of column 1 hold {nm.n + 1}"
    for refuse in (check_nm, compress):
        with pytest.raises(InputError, match=message):
            refuse(weight, nm)


def test_nan_is_refused() -> None:
    with pytest.raises(InputError, match="finite"):
        prune(np.array([[np.nan]] * 4), NM(n=1, m=4))
