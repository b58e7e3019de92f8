"""hw.training.column_sum against models.training.passes: tensors one after the other."""

import numpy as np
import pytest

from moesaic.hw.training.column_sum import ColumnSum
from moesaic.models.float_arithmetic import to_words
from moesaic.models.float_timing import ACCUMULATE_GAP
from moesaic.models.training.passes import column_sums
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests.training_cases import garbage, patterns, rows_of, split, word


@pytest.mark.parametrize("gaps", [0.0, 0.3], ids=["full", "gaps"])
@pytest.mark.parametrize("lanes", [4, 8])
def test_rtl_equals_model(lanes: int, gaps: float) -> None:
    rng = np.random.default_rng(lanes)
    inputs: dict[str, list[int]] = {n: [] for n in ("valid", "first", "last", "place", "values")}
    wanted: list[tuple[int, list[int]] | None] = []

    def idle(cycles: int) -> None:
        for _ in range(cycles):
            first, last, place = rng.integers(0, [2, 2, 40]).tolist()
            flags = (0, first, last, place, word(garbage(rng, lanes), 32))
            for name, value in zip(inputs, flags, strict=True):
                inputs[name].append(value)
            wanted.append(None)

    for tensor in range(40):
        beats = (
            40
            if tensor == 0
            else int(rng.choice([int(rng.integers(1, 8)), int(rng.integers(1, 41))]))
        )
        rows = int(rng.choice([1, int(rng.integers(2, 12))]))
        z = rows_of(rng, beats * lanes, rows).T  # a column is of one kind
        totals = to_words(column_sums(z)).reshape(beats, lanes).tolist()
        for row, line in enumerate(patterns(z)):
            for place in range(beats):
                while rng.random() < gaps:
                    idle(1)
                here = word(line[place * lanes : (place + 1) * lanes], 32)
                flags = (1, int(row == 0), int(row == rows - 1), place, here)
                for name, value in zip(inputs, flags, strict=True):
                    inputs[name].append(value)
                wanted.append((place, totals[place]) if row == rows - 1 else None)
            if row < rows - 1:
                idle(max(0, ACCUMULATE_GAP - beats))
    valid, places, sums = run_pipeline_rtl(
        ColumnSum(lanes=lanes, depth=40), inputs, outputs=["sum_valid", "sum_place", "sums"]
    )
    results = zip(valid, places, split(sums, 32, lanes).tolist(), strict=True)
    assert [(int(place), line) if v else None for v, place, line in results] == wanted
