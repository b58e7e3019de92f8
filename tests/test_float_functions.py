"""models.float_functions against float64 within stated bounds, and their units against them."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from moesaic.hw.float_exp import FloatExp
from moesaic.hw.float_inverse import FloatInverse
from moesaic.hw.float_log import FloatLog
from moesaic.models import float_functions
from moesaic.models.float_arithmetic import Floats, from_words, to_words
from moesaic.models.float_format import FP32
from moesaic.models.float_tables import UNIT_BITS, log_table, reciprocal_table
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests import float_cases

Function = Callable[[Floats], Floats]
Exact = Callable[[np.ndarray[tuple[int], np.dtype[np.float64]]], np.ndarray]

COUNTS = [
    pytest.param(20_000, id="20k"),
    pytest.param(1_000_000, id="1M", marks=pytest.mark.nightly),
]
STRIDES = [pytest.param(61, id="some"), pytest.param(1, id="all", marks=pytest.mark.nightly)]
INF, NAN = math.inf, math.nan


def ulps(result: Floats, exact: np.ndarray) -> float:
    """Return the largest error in units of fp32's last place at the exact result."""
    exponent = np.maximum(np.frexp(exact)[1] - 1, -126)
    return float(np.max(np.abs(result - exact) * np.exp2(23.0 - exponent)))


def significands(stride: int, field: int) -> Floats:
    """Return numbers of one exponent field; of the subnormal ones not zero."""
    fraction = np.arange(1 if field == 0 else 0, 1 << 23, stride, dtype=np.uint32)
    return from_words(fraction | np.uint32(field << 23))


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(
    ("name", "exact", "fields", "bound"),
    [
        ("reciprocal", lambda x: 1 / x, (127, 253), 0.66),
        ("reciprocal_root", lambda x: 1 / np.sqrt(x), (127, 128, 0), 0.71),
        ("square_root", np.sqrt, (127, 128, 0), 0.66),
        ("log", np.log, (0, 123, 124, 125, 126, 127, 128, 129, 254), 0.8),
    ],
)
def test_error_over_significands(
    name: str, exact: Exact, fields: tuple[int, ...], bound: float, stride: int
) -> None:
    errors = []
    for field in fields:
        x = significands(stride, field)
        x = x[x != 1] if name == "log" else x
        errors.append(ulps(getattr(float_functions, name)(x), exact(x.astype(np.float64))))
    assert 0.5 < max(errors) <= bound


@pytest.mark.parametrize("count", [200_000, pytest.param(8_000_000, marks=pytest.mark.nightly)])
def test_error_of_exp(count: int) -> None:
    rng = np.random.default_rng(count)
    wide = rng.uniform(-104, 88.72, count)
    near = rng.normal(size=count) * np.exp2(-rng.integers(0, 26, count))
    x = np.concatenate([wide, near]).astype(np.float32)
    assert 0.5 < ulps(float_functions.exp(x), np.exp(x.astype(np.float64))) <= 0.82


def test_error_of_quotients() -> None:
    rng = np.random.default_rng(1)
    x, y = significands(5, 127), rng.permutation(significands(5, 127))
    error = ulps(float_functions.divide(x, y), x.astype(np.float64) / y)
    assert 0.5 < error <= 1.65


def test_powers_of_two_are_exact() -> None:
    x = np.exp2(np.arange(-126, 128)).astype(np.float32)
    np.testing.assert_array_equal(float_functions.reciprocal(x), 1 / x)
    np.testing.assert_array_equal(float_functions.reciprocal_root(x[::2]), 1 / np.sqrt(x[::2]))
    np.testing.assert_array_equal(float_functions.square_root(x[::2]), np.sqrt(x[::2]))


TINY = 2.0**-149
SPECIAL = {
    "reciprocal": [(0, INF), (-0.0, -INF), (INF, 0), (-INF, -0.0), (2.0**-128, INF), (4.0, 0.25)],
    "reciprocal_root": [(0, INF), (-0.0, -INF), (INF, 0), (-INF, NAN), (-1, NAN), (-TINY, NAN)],
    "square_root": [(0, 0), (-0.0, -0.0), (INF, INF), (-INF, NAN), (-1, NAN), (-TINY, NAN)],
    "exp": [(0, 1), (-0.0, 1), (TINY, 1), (INF, INF), (-INF, 0), (89, INF), (-104, 0), (-1e9, 0)],
    "log": [(0, -INF), (-0.0, -INF), (1, 0), (INF, INF), (-INF, NAN), (-1, NAN), (-TINY, NAN)],
}


@pytest.mark.parametrize("name", SPECIAL)
def test_special_values(name: str) -> None:
    function: Function = getattr(float_functions, name)
    for x, wanted in [*SPECIAL[name], (NAN, NAN), (-NAN, NAN)]:
        result = to_words(function(np.array([x], dtype=np.float32)))
        assert result == to_words(np.array([wanted], dtype=np.float32)), x


def test_tables_reach_where_rounding_may() -> None:
    table = reciprocal_table()
    assert table.level[0] >= (1 << UNIT_BITS) - 8  # so that 1.0 comes out as 1.0
    value = log_table().value(np.arange(256), np.zeros(256, dtype=np.int64))
    assert value.max() < 1 << UNIT_BITS
    assert value.min() > 0


def arguments(rng: np.random.Generator, name: str, count: int) -> float_cases.Ints:
    """Return special values, numbers all over, and some where the function is busy."""
    x = float_cases.numbers(rng, count, FP32)
    busy = {
        "exp": rng.uniform(-105, 90, count),
        "log": 1 + rng.normal(size=count) * np.exp2(-rng.integers(0, 24, count)),
    }.get(name, np.exp2(rng.uniform(-130, 128, count)))
    words = to_words(busy.astype(np.float32)).astype(np.int64)
    positive = np.where(rng.random(count) < 0.8, x & (FP32.sign - 1), x)
    kind = rng.integers(0, 4, count)
    drawn = np.select([kind == 0, kind == 1], [x, positive], words)
    return np.concatenate([float_cases.special(FP32), drawn])


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("name", SPECIAL)
def test_rtl_equals_model(name: str, count: int) -> None:
    dut = {"exp": FloatExp, "log": FloatLog}.get(name, lambda: FloatInverse(name))()
    x = arguments(np.random.default_rng(count), name, count)
    wanted = to_words(getattr(float_functions, name)(from_words(x.astype(np.uint32))))
    (result,) = run_pipeline_rtl(dut, {"x": x}, outputs=["result"])
    differ = np.flatnonzero(result != wanted)
    assert not differ.size, [
        f"{name} of {int(x[i]):#x} gives {int(result[i]):#x}, not {int(wanted[i]):#x}"
        for i in differ[:5]
    ]
