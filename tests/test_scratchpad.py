"""hw.scratchpad: what is written slice by slice is read whole, two cycles after the address."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from moesaic.hw.scratchpad import Scratchpad
from moesaic.models.pipeline import RAM_READ
from moesaic.sim.cycle_bench import VerilatorBench, run_cycles

CYCLES = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    depth: int
    width: int
    granule: int

    def __str__(self) -> str:
        return f"{self.depth}x{self.width}by{self.granule}"


GRID = [
    Shape(depth=8, width=16, granule=16),
    Shape(depth=8, width=96, granule=24),
    Shape(depth=32, width=64, granule=8),
]


@pytest.mark.parametrize(
    ("shape", "engine"),
    [*((shape, "amaranth") for shape in GRID), (GRID[1], "verilator")],
    ids=str,
)
def test_random_reads_and_writes(shape: Shape, engine: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(shape.width)
    slices = shape.width // shape.granule
    read = rng.integers(0, shape.depth, CYCLES).tolist()
    write = rng.integers(0, shape.depth, CYCLES).tolist()
    write[::3] = read[::3]  # a word that is read while it is written
    mask = rng.integers(0, 1 << slices, CYCLES).tolist()
    data = [int.from_bytes(rng.bytes(shape.width // 8)) for _ in range(CYCLES)]
    inputs = {"read_word": read, "write_word": write, "write_mask": mask, "write_data": data}

    dut = Scratchpad(depth=shape.depth, width=shape.width, granule=shape.granule)
    if engine == "amaranth":
        got = run_cycles(dut, inputs, cycles=CYCLES)["read_data"]
    else:
        trace = VerilatorBench(dut).run(inputs, cycles=CYCLES, run_dir=tmp_path)
        got = trace["read_data"]

    words, expected = [0] * shape.depth, [0] * RAM_READ
    for cycle in range(CYCLES):
        expected.append(words[read[cycle]])  # a read sees the word before this cycle's write
        for i in range(slices):
            if mask[cycle] >> i & 1:
                part = ((1 << shape.granule) - 1) << i * shape.granule
                words[write[cycle]] = words[write[cycle]] & ~part | data[cycle] & part
    assert got == expected[:CYCLES]
