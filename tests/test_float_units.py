"""Floating-point units in Verilator against models.float_arithmetic, bit for bit."""

import numpy as np
import pytest
from amaranth.lib.wiring import Component

from moesaic.hw.float_add import FloatAdd
from moesaic.hw.float_convert import FloatConvert, FloatExtend
from moesaic.hw.float_maximum import FloatMaximum
from moesaic.hw.float_multiply import FloatMultiply
from moesaic.models.float_arithmetic import (
    Floats,
    add,
    decode,
    encode,
    from_words,
    less,
    maximum,
    multiply,
    product,
    to_words,
)
from moesaic.models.float_format import FORMATS, FP32, OPERANDS, FloatFormat
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests import float_cases
from tests.float_cases import Ints

COUNTS = [
    pytest.param(50_000, id="50k"),
    pytest.param(1_000_000, id="1M", marks=pytest.mark.nightly),
]


def floats(words: Ints) -> Floats:
    return from_words(words.astype(np.uint32))


def with_all_pairs(fmt: FloatFormat, drawn: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    specials = float_cases.all_pairs(fmt)
    return np.concatenate([specials[0], drawn[0]]), np.concatenate([specials[1], drawn[1]])


def check(dut: Component, inputs: dict[str, Ints], **wanted: object) -> None:
    """Run inputs through the unit and compare its outputs with what is `wanted`."""
    results = run_pipeline_rtl(dut, inputs, outputs=list(wanted))
    for (name, column), result in zip(wanted.items(), results, strict=True):
        expected = np.asarray(column).astype(np.int64)
        differ = np.flatnonzero(result != expected)
        assert not differ.size, [
            f"{[hex(int(c[i])) for c in inputs.values()]} give {name} {int(result[i]):#x}, "
            f"not {int(expected[i]):#x}"
            for i in differ[:5]
        ]


@pytest.mark.parametrize("count", COUNTS)
def test_add(count: int) -> None:
    drawn = float_cases.sums(np.random.default_rng(1), count)
    a, b = with_all_pairs(FP32, drawn)
    check(FloatAdd(), {"a": a, "b": b}, sum=to_words(add(floats(a), floats(b))))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("fmt", FORMATS.values(), ids=str)
def test_multiply(fmt: FloatFormat, count: int) -> None:
    drawn = float_cases.products(np.random.default_rng(fmt.fraction_bits), count, fmt)
    a, b = with_all_pairs(fmt, drawn)
    if fmt == FP32:
        wanted = multiply(floats(a), floats(b))
    else:
        wanted = product(a.astype(np.uint16), b.astype(np.uint16), fmt)
    check(FloatMultiply(fmt), {"a": a, "b": b}, product=to_words(wanted))


@pytest.mark.parametrize("count", COUNTS)
@pytest.mark.parametrize("fmt", OPERANDS, ids=str)
def test_convert(fmt: FloatFormat, count: int) -> None:
    drawn = float_cases.narrowed(np.random.default_rng(fmt.fraction_bits), count, fmt)
    x = np.concatenate([float_cases.special(FP32), drawn])
    check(FloatConvert(fmt), {"x": x}, result=encode(floats(x), fmt))


@pytest.mark.parametrize("fmt", OPERANDS, ids=str)
def test_extend_every_operand(fmt: FloatFormat) -> None:
    words = np.arange(1 << 16)
    check(FloatExtend(fmt), {"i": words}, result=to_words(decode(words.astype(np.uint16), fmt)))


@pytest.mark.parametrize("count", COUNTS)
def test_maximum(count: int) -> None:
    drawn = float_cases.sums(np.random.default_rng(2), count)
    a, b = with_all_pairs(FP32, drawn)
    check(
        FloatMaximum(),
        {"a": a, "b": b},
        largest=to_words(maximum(floats(a), floats(b))),
        less=less(floats(a), floats(b)),
    )
