"""hw.training.pack against models.float_select and models.training.execute.kept."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from moesaic.hw.training.pack import Pack
from moesaic.models.accel import NM
from moesaic.models.float_arithmetic import Patterns
from moesaic.models.float_format import BF16, FP16, FloatFormat
from moesaic.models.float_select import select_rows
from moesaic.models.training.execute import kept
from moesaic.models.training.timing import KEPT, PACK
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests import float_cases
from tests.training_cases import split, word

MACHINES = [
    pytest.param(FP16, 4, 4, (), id="dense-4x4"),
    pytest.param(BF16, 4, 16, ("2:4", "1:4"), id="bf16-4x16"),
    pytest.param(FP16, 8, 8, ("2:8",), id="2:8-8x8"),
    pytest.param(FP16, 16, 32, ("2:4", "4:8", "1:8", "2:16"), id="all-16x32"),
]


@dataclass(slots=True)
class Wanted:
    """What each cycle's beat should give, None for nothing."""

    line: list[list[int] | None] = field(default_factory=list)
    places: list[list[int] | None] = field(default_factory=list)
    kept: list[list[int] | None] = field(default_factory=list)

    def add(self, line: list[int] | None, places: list[int] | None, rest: list[int] | None) -> None:
        self.line.append(line)
        self.places.append(places)
        self.kept.append(rest)


def operands(rng: np.random.Generator, count: int, fmt: FloatFormat) -> Patterns:
    """Return a row with equal magnitudes and special values among others."""
    few = rng.choice(float_cases.special(fmt), 3)[rng.integers(0, 3, count)]
    few ^= rng.integers(0, 2, count) * fmt.sign
    any_of = float_cases.numbers(rng, count, fmt)
    return np.where(rng.random(count) < 0.4, few, any_of).astype(np.uint16)


@pytest.mark.parametrize("gaps", [0.0, 0.3], ids=["full", "gaps"])
@pytest.mark.parametrize(("fmt", "lanes", "rows", "texts"), MACHINES)
def test_lines_equal_model(
    fmt: FloatFormat, lanes: int, rows: int, texts: tuple[str, ...], gaps: float
) -> None:
    rng = np.random.default_rng(rows)
    modes = tuple(NM.parse(text) for text in texts)
    inputs: dict[str, list[int]] = {name: [] for name in ("valid", "mode", "values")}
    wanted = Wanted()

    def give(valid: int, mode: int, values: Patterns) -> None:
        for name, value in zip(inputs, (valid, mode, word(values.tolist(), 16)), strict=True):
            inputs[name].append(value)

    for _ in range(100):
        mode = int(rng.integers(0, 1 + len(modes)))
        nm = modes[mode - 1] if mode else None
        beats = rows // lanes * (nm.expansion if nm else 1)  # of a line
        channels = int(rng.integers(1, 3 * beats * lanes + 1))
        padded = np.zeros(-(-channels // (beats * lanes)) * beats * lanes, dtype=np.uint16)
        padded[:channels] = operands(rng, channels, fmt)
        values, places = padded[:, np.newaxis], np.zeros((len(padded), 1), dtype=np.int64)
        if nm is not None:
            values, places = select_rows(values, nm, fmt)
        rest = kept(padded[np.newaxis], values, None if nm is None else places, nm)[0]
        for beat in range(len(padded) // lanes):
            while rng.random() < gaps:
                other = int(rng.integers(0, 1 + len(modes)))
                give(0, other, operands(rng, lanes, fmt))
                wanted.add(None, None, None)
            here = slice(beat * lanes, (beat + 1) * lanes)
            give(1, mode, padded[here])
            line = slice(beat // beats * rows, (beat // beats + 1) * rows)
            full = beat % beats == beats - 1
            wanted.add(
                values[line, 0].tolist() if full else None,
                places[line, 0].tolist() if full else None,
                rest[here].tolist(),
            )
    dut = Pack(fmt=fmt, lanes=lanes, word=rows, modes=modes)
    give(0, 0, operands(rng, lanes, fmt))  # lines come later than what is kept
    names = ["kept_valid", "kept", "line_valid", "line", "places"]
    kept_valid, remains, valid, lines, found = run_pipeline_rtl(
        dut, inputs, outputs=names, latency=KEPT
    )
    assert where(kept_valid, split(remains, 16, lanes))[:-1] == wanted.kept
    later = PACK - KEPT
    assert where(valid, split(lines, 16, rows))[later:] == wanted.line
    assert where(valid, split(found, 4, rows))[later:] == wanted.places


def where(
    valid: np.ndarray[tuple[int], np.dtype[np.int64]],
    lines: np.ndarray[tuple[int, int], np.dtype[np.int64]],
) -> list[list[int] | None]:
    return [line if there else None for there, line in zip(valid, lines.tolist(), strict=True)]
