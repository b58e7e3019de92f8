"""models.float_arithmetic against MPFR, on special values and a million weighted operands."""

import operator
from collections.abc import Callable

import numpy as np
import pytest

from moesaic.models.float_arithmetic import (
    add,
    decode,
    encode,
    from_words,
    less,
    maximum,
    multiply,
    negate,
    product,
    to_words,
)
from moesaic.models.float_format import BF16, FORMATS, FP16, FP32, OPERANDS, FloatFormat
from tests import float_cases, float_oracle

Ints = float_cases.Ints

COUNTS = [
    pytest.param(50_000, id="50k"),
    pytest.param(1_000_000, id="1M", marks=pytest.mark.nightly),
]
FORMATS_BY_NAME = pytest.mark.parametrize("fmt", OPERANDS, ids=str)


def same(result: object, wanted: Ints, *inputs: Ints) -> None:
    """Fail with the first operands whose result differs."""
    differ = np.flatnonzero(np.asarray(result).astype(np.int64) != wanted)
    assert not differ.size, [
        f"{[hex(int(column[i])) for column in inputs]} give {np.asarray(result)[i]:#x}, "
        f"not {int(wanted[i]):#x}"
        for i in differ[:5]
    ]


def floats(words: Ints) -> np.ndarray[tuple[int], np.dtype[np.float32]]:
    return from_words(words.astype(np.uint32))


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=str)
def test_formats_are_those_of_the_oracle(fmt: FloatFormat) -> None:
    words = float_cases.special(fmt)
    nan = (words & (fmt.sign - 1)) > fmt.infinity
    wanted = np.where(nan, fmt.nan, words)
    same(float_oracle.apply(float_oracle.plus, [words], of=fmt, to=fmt), wanted, words)
    assert {FP16: 0x7E00, BF16: 0x7FC0, FP32: 0x7FC00000}[fmt] == fmt.nan


@FORMATS_BY_NAME
def test_every_operand_is_decoded_and_encoded(fmt: FloatFormat) -> None:
    words = np.arange(1 << 16)
    values = decode(words.astype(np.uint16), fmt)
    same(
        to_words(values),
        float_oracle.apply(float_oracle.plus, [words], of=fmt, to=FP32),
        words,
    )
    nan = (words & 0x7FFF) > fmt.infinity
    same(encode(values, fmt), np.where(nan, fmt.nan, words), words)


@pytest.mark.parametrize("count", COUNTS)
@FORMATS_BY_NAME
def test_conversion(fmt: FloatFormat, count: int) -> None:
    rng = np.random.default_rng(fmt.fraction_bits)
    x = np.concatenate([float_cases.special(FP32), float_cases.narrowed(rng, count, fmt)])
    wanted = float_oracle.apply(float_oracle.plus, [x], of=FP32, to=fmt)
    same(encode(floats(x), fmt), wanted, x)


@pytest.mark.parametrize("count", COUNTS)
@FORMATS_BY_NAME
def test_product(fmt: FloatFormat, count: int) -> None:
    rng = np.random.default_rng(fmt.fraction_bits)
    pairs = float_cases.all_pairs(fmt), float_cases.products(rng, count, fmt)
    a, b = (np.concatenate(column) for column in zip(*pairs, strict=True))
    wanted = float_oracle.apply(float_oracle.multiply, [a, b], of=fmt, to=FP32)
    same(to_words(product(a.astype(np.uint16), b.astype(np.uint16), fmt)), wanted, a, b)


def test_products_of_fp16_are_exact() -> None:
    rng = np.random.default_rng(1)
    a, b = (column.astype(np.uint16) for column in float_cases.products(rng, 50_000, FP16))
    finite = ((a & 0x7FFF) < FP16.infinity) & ((b & 0x7FFF) < FP16.infinity)
    x, y = decode(a[finite], FP16), decode(b[finite], FP16)
    np.testing.assert_array_equal(product(a, b, FP16)[finite], x.astype(np.float64) * y)


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("operation", ["add", "multiply"])
def test_fp32(operation: str, count: int) -> None:
    rng = np.random.default_rng(32)
    if operation == "add":
        model, oracle, drawn = add, float_oracle.add, float_cases.sums(rng, count)
    else:
        model, oracle = multiply, float_oracle.multiply
        drawn = float_cases.products(rng, count, FP32)
    pairs = float_cases.all_pairs(FP32), drawn
    a, b = (np.concatenate(column) for column in zip(*pairs, strict=True))
    wanted = float_oracle.apply(oracle, [a, b], of=FP32, to=FP32)
    same(to_words(model(floats(a), floats(b))), wanted, a, b)


def test_cases_meet_what_they_aim_at() -> None:
    rng = np.random.default_rng(7)
    a, b = float_cases.sums(rng, 20_000)
    with np.errstate(all="ignore"):
        x, y = (floats(column).astype(np.float64) for column in (a, b))
        total = add(floats(a), floats(b))
        exact = x + y
        finite = np.isfinite(exact) & np.isfinite(total) & (exact != 0)
        inexact = finite & (exact != total)
        unit = np.spacing(np.abs(total))
        ties = inexact & (np.abs(exact - total) * 2 == unit)
        cancelled = finite & (np.abs(exact) < 2.0**-12 * np.abs(x))
        subnormal = finite & (np.abs(total) < 2.0**-126)
    for what, least in ((inexact, 3000), (ties, 100), (cancelled, 500), (subnormal, 300)):
        assert np.count_nonzero(what) >= least
    assert np.count_nonzero(np.isinf(total)) >= 100


def test_order_of_numbers() -> None:
    a, b = float_cases.all_pairs(FP32)
    x, y = floats(a), floats(b)
    largest = maximum(x, y)
    nan = np.isnan(x) | np.isnan(y)
    assert np.isnan(largest[nan]).all()
    np.testing.assert_array_equal(largest[~nan], np.maximum(x, y)[~nan])
    zeros = (x == 0) & (y == 0)
    np.testing.assert_array_equal(
        np.signbit(largest)[zeros], (np.signbit(x) & np.signbit(y))[zeros]
    )
    wanted: Callable[[float, float], bool] = operator.lt
    np.testing.assert_array_equal(
        less(x, y), [wanted(float(p), float(q)) for p, q in zip(x, y, strict=True)]
    )


def test_negation_turns_the_sign_of_all_but_nan() -> None:
    words = float_cases.special(FP32)
    nan = (words & 0x7FFFFFFF) > FP32.infinity
    same(to_words(negate(floats(words))), np.where(nan, FP32.nan, words ^ FP32.sign), words)


def test_a_wrong_format_is_refused() -> None:
    with pytest.raises(ValueError, match="must be fp16 or bf16, not fp32"):
        decode(np.zeros(1, dtype=np.uint16), FP32)
