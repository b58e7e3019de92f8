"""hw.store on the standard memory: what lies in memory, and cycles against dataflow.memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.memory import WriteChannel
from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.commands import Unit
from moesaic.sim.dma_bench import Program, run_dma
from moesaic.sim.dma_programs import expected_memory, random_program

# (bus_bytes, outstanding, burst_beats): each value meets each other once.
GRID = [
    (4, 1, 1),
    (4, 4, 16),
    (4, 32, 256),
    (8, 1, 16),
    (8, 4, 256),
    (8, 32, 1),
    (64, 1, 256),
    (64, 4, 1),
    (64, 32, 16),
]
QUEUE_DEPTH = {1: 2, 4: 4, 32: 8}  # as in test_load, so that both share the builds
SEEDS = range(24)


def make_spec(bus: int, outstanding: int, burst: int) -> AccelSpec:
    return AccelSpec(
        rows=max(bus, 8),
        columns=8,
        lanes=8,
        bus_bytes=bus,
        outstanding=outstanding,
        burst_beats=burst,
        queue_depth=QUEUE_DEPTH[outstanding],
    )


def predict(spec: AccelSpec, program: Program) -> tuple[list[int], list[int]]:
    """Return the cycles of all accepts and of all dones."""
    channel = WriteChannel(replace(spec, memory=program.memory))
    accepts, dones, free = [], [], 0
    for not_before, command in program.stores:
        accept, done = channel.store(command, max(not_before, free))
        accepts.append(accept)
        dones.append(done)
        free = accept + 1
    return accepts, dones


def beats(program: Program) -> int:
    return sum(c["rows"] * c["row_beats"] for _, c in program.stores)


@pytest.mark.parametrize("size", GRID, ids=str)
def test_cycles_and_memory_are_exact(size: tuple[int, int, int], tmp_path: Path) -> None:
    spec = make_spec(*size)
    programs = [random_program(spec, Unit.STORE, seed) for seed in SEEDS]
    for program, got in zip(programs, run_dma(spec, programs, tmp_path), strict=True):
        what = f"seed {program.seed}, {program.memory}"
        accepts, dones = predict(spec, program)
        assert not got.hang, what
        assert got.accepts[1] == accepts, what
        assert got.dones[1] == dones, what
        np.testing.assert_array_equal(got.memory, expected_memory(program, spec.bus_bytes), what)
        assert got.write_bytes == spec.bus_bytes * beats(program), what
        assert (got.violations, got.store_error) == (0, 0), what


@pytest.mark.parametrize("stall", [0.5, 0.9])
@pytest.mark.parametrize("size", GRID, ids=str)
def test_stalls_never_change_memory(
    size: tuple[int, int, int], stall: float, tmp_path: Path
) -> None:
    spec = make_spec(*size)
    programs = [random_program(spec, Unit.STORE, seed, stall=stall) for seed in range(100, 106)]
    for program, got in zip(programs, run_dma(spec, programs, tmp_path), strict=True):
        assert not got.hang, program.seed
        np.testing.assert_array_equal(got.memory, expected_memory(program, spec.bus_bytes))
        assert got.write_bytes == spec.bus_bytes * beats(program), program.seed
        assert (got.violations, got.store_error) == (0, 0), program.seed


def test_first_error_response_stays(tmp_path: Path) -> None:
    spec = make_spec(*GRID[4])
    image = np.zeros(64, dtype=np.uint8)
    plain = {"unit": Unit.STORE, "rows": 1, "row_beats": 1, "row_pitch": 0, "line_pitch": 0}
    stores = [(0, plain | {"buffer": 2, "line": 9, "address": at}) for at in (0, 64, 8)]
    program = Program(stores=stores, image=image, memory=MemorySpec())
    (got,) = run_dma(spec, [program], tmp_path)
    assert got.store_error == 0b11  # DECERR
    np.testing.assert_array_equal(got.memory, expected_memory(replace_stores(program), 8))


def replace_stores(program: Program) -> Program:
    """Return the program without the store beyond the memory's end."""
    return replace(program, stores=[program.stores[0], program.stores[2]])


def test_bytes_are_counted() -> None:
    channel = WriteChannel(make_spec(*GRID[4]))
    plain = {"address": 0, "rows": 3, "row_beats": 5, "row_pitch": 4096}
    channel.store(plain, 0)
    assert channel.bytes_written == 3 * 5 * 8
