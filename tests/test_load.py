"""hw.load on the standard memory: data against the image, cycles against dataflow.memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.memory import ReadChannel
from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.commands import Command, Unit
from moesaic.sim.dma_bench import Program, run_dma
from moesaic.sim.dma_programs import expected_writes, random_program

# (bus_bytes, outstanding, burst_beats, queue_depth): each value meets each other once.
GRID = [
    (4, 1, 1, 2),
    (4, 4, 16, 4),
    (4, 32, 256, 8),
    (8, 1, 16, 2),
    (8, 4, 256, 4),
    (8, 32, 1, 8),
    (64, 1, 256, 2),
    (64, 4, 1, 4),
    (64, 32, 16, 8),
]
SEEDS = range(24)


def make_spec(bus: int, outstanding: int, burst: int, queue: int) -> AccelSpec:
    return AccelSpec(
        rows=max(bus, 8),
        columns=8,
        lanes=8,
        bus_bytes=bus,
        outstanding=outstanding,
        burst_beats=burst,
        queue_depth=queue,
    )


def predict(spec: AccelSpec, program: Program) -> tuple[list[int], list[int]]:
    """Return the cycles of all accepts and of all dones."""
    channel = ReadChannel(replace(spec, memory=program.memory))
    accepts, dones, free = [], [], 0
    for not_before, command in program.loads:
        accept, done = channel.load(command, max(not_before, free))
        accepts.append(accept)
        dones.append(done)
        free = accept + 1
    return accepts, dones


def command(**fields: int) -> Command:
    plain = {"address": 0, "rows": 1, "row_beats": 1, "row_pitch": 0, "line_pitch": 0}
    return {"unit": Unit.LOAD, "buffer": 1, "line": 0} | plain | fields


@pytest.mark.parametrize("size", GRID, ids=str)
def test_cycles_and_data_are_exact(size: tuple[int, int, int, int], tmp_path: Path) -> None:
    spec = make_spec(*size)
    programs = [random_program(spec, Unit.LOAD, seed) for seed in SEEDS]
    for program, got in zip(programs, run_dma(spec, programs, tmp_path), strict=True):
        what = f"seed {program.seed}, {program.memory}"
        accepts, dones = predict(spec, program)
        assert not got.hang, what
        assert got.accepts[0] == accepts, what
        assert got.dones[0] == dones, what
        assert got.writes == expected_writes(program, spec.bus_bytes), what
        assert got.read_bytes == spec.bus_bytes * len(got.writes), what
        assert (got.violations, got.load_error) == (0, 0), what


@pytest.mark.parametrize("stall", [0.5, 0.9])
@pytest.mark.parametrize("size", GRID, ids=str)
def test_stalls_never_change_data(
    size: tuple[int, int, int, int], stall: float, tmp_path: Path
) -> None:
    spec = make_spec(*size)
    programs = [random_program(spec, Unit.LOAD, seed, stall=stall) for seed in range(100, 106)]
    for program, got in zip(programs, run_dma(spec, programs, tmp_path), strict=True):
        assert not got.hang, program.seed
        assert got.writes == expected_writes(program, spec.bus_bytes), program.seed
        assert (got.violations, got.load_error) == (0, 0), program.seed


def test_first_error_response_stays(tmp_path: Path) -> None:
    spec = make_spec(*GRID[4])
    image = np.arange(64, dtype=np.uint8)
    loads = [(0, command(address=0)), (0, command(address=64)), (0, command(address=8))]
    program = Program(loads=loads, image=image, memory=MemorySpec())
    (got,) = run_dma(spec, [program], tmp_path)
    assert got.load_error == 0b11  # DECERR
    beats = [bytes(range(8)), bytes(8), bytes(range(8, 16))]
    assert [beat for _, _, beat in got.writes] == beats


def test_steps_per_burst_are_counted_in_bytes_too() -> None:
    channel = ReadChannel(make_spec(*GRID[4]))
    channel.load(command(rows=3, row_beats=5, row_pitch=4096), 0)
    assert channel.bytes_read == 3 * 5 * 8
