"""hw.training.pass_lane against models.training.passes, every combination with every function."""

import numpy as np
import pytest

from moesaic.hw.training.pass_lane import PassLane
from moesaic.models.float_arithmetic import encode, from_words, to_words
from moesaic.models.float_format import FP32, OPERANDS, FloatFormat
from moesaic.models.training.execute import FUNCTIONS
from moesaic.models.training.passes import Combine, combine
from moesaic.models.training.step import Function
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests import float_cases
from tests.float_cases import Ints


def operands(rng: np.random.Generator, count: int) -> list[Ints]:
    """Return a, p and q: any, equal ones, special ones, and such as functions have results for."""
    a, q = float_cases.sums(rng, count)
    _, p = float_cases.products(rng, count, FP32)
    kind = rng.integers(0, 8, count)
    q = np.where(kind == 0, a ^ rng.choice([0, FP32.sign], count), q)
    special = rng.choice(float_cases.special(FP32), (3, count))
    mild = to_words(rng.normal(size=(3, count)).astype(np.float32) * 8).astype(np.int64)
    return [
        np.select([kind == 1, kind > 3], [special[i], mild[i]], x) for i, x in enumerate((a, p, q))
    ]


@pytest.mark.parametrize("count", [20_000, pytest.param(500_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize("fmt", OPERANDS, ids=str)
def test_rtl_equals_model(fmt: FloatFormat, count: int) -> None:
    rng = np.random.default_rng(count + fmt.bias)
    a, p, q = operands(rng, count)
    how = rng.integers(0, len(Combine), count)
    function = rng.integers(0, len(Function), count)
    seen = rng.integers(0, 2, count)
    numbers = [from_words(x.astype(np.uint32)) for x in (a, p, q)]
    wanted = np.zeros(count, dtype=np.float32)
    for one in Combine:
        for flag in (False, True):
            for name, call in FUNCTIONS.items():
                here = (how == one) & (function == name.value) & (seen == flag)
                wanted[here] = call(combine(one, *(x[here] for x in numbers), seen=flag))
    inputs = {"a": a, "p": p, "q": q, "combine": how, "seen": seen, "operation": function}
    z, rounded = run_pipeline_rtl(PassLane(fmt), inputs, outputs=["z", "rounded"])
    for result, expected in ((z, to_words(wanted)), (rounded, encode(wanted, fmt))):
        differ = np.flatnonzero(result != expected)
        assert not differ.size, [
            f"{Combine(how[i]).name} {Function(function[i]).name} of {a[i]:#x}, {p[i]:#x}, "
            f"{q[i]:#x}: {result[i]:#x}, not {expected[i]:#x}"
            for i in differ[:5]
        ]
