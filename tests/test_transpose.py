"""hw.training.transpose by definition: blocks with and without gaps between them."""

import numpy as np
import pytest

from moesaic.hw.training.transpose import Transpose
from moesaic.sim.pipeline_rtl import run_pipeline_rtl
from tests.training_cases import split, word


@pytest.mark.parametrize("gaps", [0.0, 0.5], ids=["full", "gaps"])
@pytest.mark.parametrize(("lanes", "bits"), [(4, 32), (8, 16), (32, 16)])
def test_columns_are_those_of_blocks(lanes: int, bits: int, gaps: float) -> None:
    rng = np.random.default_rng(lanes)
    valid: list[int] = []
    rows: list[list[int]] = []
    wanted: list[list[int] | None] = []
    for _ in range(400 // lanes):
        block = rng.integers(0, 1 << bits, (lanes, lanes))
        rows += block.tolist()
        valid += [1] * lanes
        wanted += block.T.tolist()
        pause = int(rng.integers(1, 2 * lanes)) if rng.random() < gaps else 0
        rows += rng.integers(0, 1 << bits, (pause, lanes)).tolist()
        valid += [0] * pause
        wanted += [None] * pause
    dut = Transpose(lanes=lanes, bits=bits)
    assert lanes + 1 == dut.LATENCY
    inputs = {"valid": valid, "row": [word(row, bits) for row in rows]}
    results = run_pipeline_rtl(dut, inputs, outputs=["column_valid", "column"])
    columns = split(results[1], bits, lanes).tolist()
    assert [c if v else None for v, c in zip(results[0], columns, strict=True)] == wanted
