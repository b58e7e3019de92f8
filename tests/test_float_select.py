"""hw.nm_select against models.float_select, and that against models.sparse and by definition."""

import numpy as np
import pytest

from moesaic.hw.nm_select import NMSelect
from moesaic.models.accel import NM
from moesaic.models.float_arithmetic import decode
from moesaic.models.float_format import BF16, FORMATS, FP16, FP32, FloatFormat
from moesaic.models.float_select import Numbers, select, select_rows
from moesaic.models.pipeline import log2
from moesaic.models.sparse import compress, prune
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests import float_cases

MODES = [NM.parse(text) for text in ("2:4", "1:4", "2:8", "1:8", "2:16", "4:16")]


def groups(rng: np.random.Generator, count: int, m: int, fmt: FloatFormat) -> Numbers:
    """Return groups with equal magnitudes, zeros and special values among them."""
    words = float_cases.numbers(rng, count * m, fmt).reshape(count, m)
    few = rng.choice(float_cases.special(fmt), (count, 3))
    alike = np.take_along_axis(few, rng.integers(0, 3, (count, m)), axis=1)
    alike ^= rng.integers(0, 2, (count, m)) * fmt.sign
    near = words[:, :1] + rng.integers(-2, 3, (count, m))
    kind = rng.integers(0, 3, (count, 1))
    chosen = np.select([kind == 0, kind == 1], [words, alike], near) & (2 * fmt.sign - 1)
    return chosen.astype(np.uint32 if fmt == FP32 else np.uint16)


@pytest.mark.parametrize("fmt", FORMATS.values(), ids=str)
@pytest.mark.parametrize("nm", MODES, ids=str)
def test_selection_by_definition(nm: NM, fmt: FloatFormat) -> None:
    rng = np.random.default_rng(nm.m)
    lines = groups(rng, 500, nm.m, fmt)
    values, places = select(lines, nm, fmt)
    for line, kept, where in zip(lines.tolist(), values.tolist(), places.tolist(), strict=True):
        wanted = sorted(sorted(range(nm.m), key=lambda i: (-(line[i] % fmt.sign), i))[: nm.n])
        assert where == wanted
        assert kept == [line[i] for i in wanted]


@pytest.mark.parametrize("fmt", [FP16, BF16], ids=str)
@pytest.mark.parametrize("nm", MODES, ids=str)
def test_compact_rows_are_those_of_pruned_weights(nm: NM, fmt: FloatFormat) -> None:
    rng = np.random.default_rng(nm.n)
    weight = groups(rng, 3 * nm.m - 1, 5, fmt)
    weight[(weight & (fmt.sign - 1)) > fmt.infinity] = 0  # NaN has no place in pruned weights
    values, places = select_rows(weight, nm, fmt)
    numbers = decode(weight, fmt)
    pruned, where = compress(np.where(prune(numbers, nm), numbers, 0), nm)
    np.testing.assert_array_equal(places, where)
    np.testing.assert_array_equal(decode(values, fmt), pruned)


def test_a_group_of_another_size_is_refused() -> None:
    with pytest.raises(ValueError, match="groups must have 8 numbers, not 4"):
        select(np.zeros((1, 4), dtype=np.uint16), NM.parse("2:8"), FP16)


def pack(lines: Numbers, bits: int, m: int) -> list[int]:
    """Return each line of numbers as one integer, filled up to `m` with what must not count."""
    words = []
    for line in lines.tolist():
        noise = [(1 << bits) - 1 - i for i in range(m - len(line))]
        words.append(sum(number << (bits * i) for i, number in enumerate([*line, *noise])))
    return words


@pytest.mark.parametrize("count", [20_000, pytest.param(500_000, marks=pytest.mark.nightly)])
@pytest.mark.parametrize(
    ("fmt", "modes"),
    [(FP32, MODES), (FP16, MODES), (BF16, MODES[:4]), (FP16, MODES[2:3])],
    ids=["fp32-all", "fp16-all", "bf16-to-8", "fp16-2:8"],
)
def test_rtl_equals_model(fmt: FloatFormat, modes: list[NM], count: int) -> None:
    rng = np.random.default_rng(count)
    dut = NMSelect(fmt, modes)
    mode = rng.integers(0, len(modes), count)
    group = np.zeros(count, dtype=object)
    wanted_values, wanted_places = (np.zeros((count, dut.n), dtype=np.int64) for _ in range(2))
    for i, nm in enumerate(modes):
        there = mode == i
        lines = groups(rng, int(there.sum()), nm.m, fmt)
        group[there] = pack(lines, fmt.bits, dut.m)
        values, places = select(lines, nm, fmt)
        wanted_values[there, : nm.n], wanted_places[there, : nm.n] = values, places
    inputs = {"mode": mode, "group": group}
    kept, where = run_pipeline_rtl(dut, inputs, outputs=["values", "places"])
    np.testing.assert_array_equal(unpack(kept, fmt.bits, dut.n), wanted_values)
    np.testing.assert_array_equal(unpack(where, log2(dut.m), dut.n), wanted_places)


def unpack(words: object, bits: int, n: int) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    mask = (1 << bits) - 1
    return np.array([[int(word) >> (bits * i) & mask for i in range(n)] for word in words])  # type: ignore[attr-defined]
