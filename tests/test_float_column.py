"""hw.float_dot in Verilator against models.float_dot: sums in turn, in any order, with gaps."""

import numpy as np
import pytest

from moesaic.hw.float_dot import FloatDot
from moesaic.models.float_arithmetic import Patterns, encode, to_words
from moesaic.models.float_dot import dot
from moesaic.models.float_format import BF16, FP16, FloatFormat
from moesaic.models.float_timing import ACCUMULATE_GAP
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests import float_cases

INNER = 24
ROUNDS = 40


def interleave(rng: np.random.Generator, sums: int, beats: int, gaps: float) -> list[int]:
    """Return which sum each cycle adds to, -1 for none: `beats` of each, as soon as it may."""
    left, ready = np.full(sums, beats), np.zeros(sums, dtype=np.int64)
    cycles: list[int] = []
    while left.any():
        may = np.flatnonzero((left > 0) & (ready <= len(cycles)))
        if not may.size or rng.random() < gaps:
            cycles.append(-1)
            continue
        chosen = int(rng.choice(may[left[may] == left[may].max()]))
        left[chosen] -= 1
        ready[chosen] = len(cycles) + ACCUMULATE_GAP
        cycles.append(chosen)
    return cycles


def operands(rng: np.random.Generator, sums: int, fmt: FloatFormat) -> tuple[Patterns, Patterns]:
    """Return (sums, INNER) factors whose products cancel and round, some of them special."""
    a, b = (encode(rng.normal(size=(sums, INNER)).astype(np.float32), fmt) for _ in range(2))
    a[::3, ::2] = a[::3, 1::2]
    b[::3, ::2] = b[::3, 1::2] ^ fmt.sign
    wild = float_cases.numbers(rng, 2 * (sums // 5) * INNER, fmt).reshape(2, -1, INNER)
    a[: sums // 5], b[: sums // 5] = wild.astype(np.uint16)
    a[-1], b[-1] = fmt.sign, 1  # a sum of minus zeros
    return a, b


def pack(words: Patterns) -> list[int]:
    return [sum(word << (16 * i) for i, word in enumerate(line)) for line in words.tolist()]


@pytest.mark.parametrize("gaps", [0.0, 0.3], ids=["full", "gaps"])
@pytest.mark.parametrize(
    ("fmt", "rows", "depth"), [(FP16, 1, 16), (BF16, 4, ACCUMULATE_GAP)], ids=["fp16", "bf16"]
)
def test_sums_equal_model(fmt: FloatFormat, rows: int, depth: int, gaps: float) -> None:
    rng = np.random.default_rng(rows)
    beats = INNER // rows
    inputs: dict[str, list[int]] = {name: [] for name in ("a", "b", "valid", "place", "first")}
    wanted: list[int] = []
    for _ in range(ROUNDS):
        a, b = operands(rng, depth, fmt)
        done = np.zeros(depth, dtype=np.int64)
        # A round begins when no sum of the one before it is on its way.
        cycles = interleave(rng, depth, beats, gaps)
        assert gaps or -1 not in cycles  # enough sums to fill every cycle
        cycles += [-1] * ACCUMULATE_GAP
        for place in cycles:
            inputs["valid"].append(int(place >= 0))
            inputs["place"].append(max(place, 0))
            first = done[place] == 0 if place >= 0 else rng.random() < 0.5
            inputs["first"].append(int(first))
            if place < 0:
                garbage = float_cases.numbers(rng, 2 * rows, fmt).astype(np.uint16)
                (left,), (right,) = pack(garbage[None, :rows]), pack(garbage[None, rows:])
            else:
                here = slice(int(done[place]) * rows, int(done[place] + 1) * rows)
                (left,), (right,) = pack(a[None, place, here]), pack(b[None, place, here])
                done[place] += 1
                part = slice(0, here.stop)
                one = dot(a[None, place, part], b[place, part, None], rows=rows, fmt=fmt)
                wanted.append(place << 32 | int(to_words(one)[0, 0]))
            inputs["a"].append(left)
            inputs["b"].append(right)
    outputs = ["sum_valid", "sum_place", "sum"]
    valid, places, totals = run_pipeline_rtl(
        FloatDot(fmt, rows=rows, depth=depth), inputs, outputs=outputs
    )
    np.testing.assert_array_equal(valid, inputs["valid"])
    there = valid == 1
    np.testing.assert_array_equal((places << 32 | totals)[there], wanted)
