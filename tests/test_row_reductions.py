"""hw.training.row_sum and row_max against models.training.passes: rows of all lengths, gaps."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from moesaic.hw.training.row_max import RowMax
from moesaic.hw.training.row_sum import RowSum
from moesaic.models.float_arithmetic import to_words
from moesaic.models.float_timing import ADD, MAXIMUM
from moesaic.models.training.passes import row_maxima, row_sums
from moesaic.models.training.timing import MASK, row_max_latency, row_sum_latency
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests.training_cases import garbage, patterns, rows_of, word


@dataclass(slots=True)
class Beats:
    """Inputs cycle by cycle, and the sum and the maximum due for each cycle, None for none."""

    lanes: int
    inputs: dict[str, list[int]] = field(
        default_factory=lambda: {n: [] for n in ("valid", "first", "last", "enable", "values")}
    )
    sums: list[int | None] = field(default_factory=list)
    maxima: list[int | None] = field(default_factory=list)

    def add(self, **values: int) -> None:
        for name, value in values.items():
            self.inputs[name].append(value)

    def gap(self, rng: np.random.Generator, cycles: int) -> None:
        for _ in range(cycles):
            first, last, enable = rng.integers(0, [2, 2, 1 << min(self.lanes, 62)]).tolist()
            line = word(garbage(rng, self.lanes), 32)
            self.add(valid=0, first=first, last=last, enable=enable, values=line)
            self.sums.append(None)
            self.maxima.append(None)

    def row(self, rng: np.random.Generator, channels: int) -> None:
        z = rows_of(rng, 1, channels)
        beats = -(-channels // self.lanes)
        line = patterns(z)[0] + garbage(rng, beats * self.lanes - channels)
        for beat in range(beats):
            here = slice(beat * self.lanes, (beat + 1) * self.lanes)
            there = min(self.lanes, channels - beat * self.lanes)
            last = beat == beats - 1
            self.add(
                valid=1,
                first=int(beat == 0),
                last=int(last),
                enable=(1 << there) - 1,
                values=word(line[here], 32),
            )
            self.sums.append(int(to_words(row_sums(z, self.lanes))[0]) if last else None)
            self.maxima.append(int(to_words(row_maxima(z, self.lanes))[0]) if last else None)


def beats_of(seed: int, lanes: int, rows: int, gaps: float) -> Beats:
    """Return rows of 1 to 40 beats, half of them short; rows of one beat one after the other."""
    rng = np.random.default_rng(seed)
    out = Beats(lanes)
    for _ in range(rows):
        beats = int(rng.integers(1, rng.choice([2, 10, 41])))
        short = int(rng.integers(0, rng.choice([1, lanes])))
        out.row(rng, beats * lanes - short)
        if rng.random() < gaps:
            out.gap(rng, int(rng.integers(1, 12)))
    return out


@pytest.mark.parametrize("gaps", [0.0, 0.4], ids=["full", "gaps"])
@pytest.mark.parametrize(
    ("which", "lanes"),
    [
        ("sum", 4),
        pytest.param("sum", 8, marks=pytest.mark.nightly),
        ("largest", 4),
        ("largest", 8),
    ],
)
def test_rtl_equals_model(which: str, lanes: int, gaps: float) -> None:
    beats = beats_of(lanes, lanes, 200, gaps)
    dut = RowSum(lanes=lanes) if which == "sum" else RowMax(lanes=lanes)
    wanted = beats.sums if which == "sum" else beats.maxima
    valid, results = run_pipeline_rtl(dut, beats.inputs, outputs=[f"{which}_valid", which])
    got = [int(r) if v else None for v, r in zip(valid, results, strict=True)]
    assert got == wanted


@pytest.mark.parametrize(("lanes", "adders", "levels"), [(4, 6, 3), (8, 7, 4), (32, 9, 6)])
def test_latencies_follow_the_trees(lanes: int, adders: int, levels: int) -> None:
    """Over the lanes, one to the running value, and for sums three over the partial ones."""
    assert MASK + ADD * adders == row_sum_latency(lanes)
    assert MASK + MAXIMUM * levels == row_max_latency(lanes)
