"""The training machine's slice walk: rows, lines of rows and blocks against plain loops."""

import numpy as np
import pytest

from moesaic.hw.training.slice_walk import SliceWalk
from moesaic.sim.cycle_bench import run_cycles

BASE, PITCH, LINE = 40, 7, 30


def addresses(marks: list[dict[str, int]], blocks: int) -> list[int]:
    """Return the address beside each step's marks."""
    loaded = {"load": 1, "base": BASE, "pitch": PITCH, "line": LINE, "blocks": blocks}
    cycles = [loaded, *({"step": 1, "blocks": blocks} | each for each in marks)]
    names = {name for cycle in cycles for name in cycle}
    inputs = {name: [cycle.get(name, 0) for cycle in cycles] for name in names}
    trace = run_cycles(SliceWalk(), inputs, cycles=len(cycles))
    return [int(word) for word in trace["address"][1:]]


@pytest.mark.parametrize(("width", "beats"), [(1, 2), (3, 1), (3, 4), (100, 2)])
def test_rows_in_lines(width: int, beats: int) -> None:
    marks, wanted = [], []
    for row, beat in np.ndindex(9, beats):
        ends = int(row % width == width - 1)
        marks.append(
            {"first_beat": int(beat == 0), "last_beat": int(beat == beats - 1), "line_ends": ends}
        )
        lines = row // width
        wanted.append(BASE + (row - lines) * PITCH + lines * LINE + beat)
    assert addresses(marks, 0) == wanted


def test_blocks_take_no_lines() -> None:
    lanes, beats, blocks = 4, 2, 3
    marks, wanted = [], []
    for block, beat, row in np.ndindex(blocks, beats, lanes):
        marks.append(
            {
                "first_beat": int(beat == 0),
                "last_beat": int(beat == beats - 1),
                "last_row": int(row == lanes - 1),
            }
        )
        wanted.append(BASE + (block * lanes + row) * PITCH + beat)
    assert addresses(marks, 1) == wanted
