"""hw.store on the standard memory: what lies in memory, and cycles against dataflow.memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.memory import WriteChannel
from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.commands import Command, Unit
from moesaic.sim.dma_bench import Program, run_dma
from moesaic.sim.dma_programs import SIZES, dma_spec, expected_memory, random_program

SLVERR, DECERR = 0b10, 0b11
SMOOTH = [(seed, 0.0) for seed in range(24)]
STALLING = [(seed, stall) for stall in (0.5, 0.9) for seed in range(100, 105)]


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


def store(**fields: int) -> Command:
    plain = {"unit": Unit.STORE, "address": 0, "rows": 1, "row_beats": 1, "row_pitch": 0}
    return plain | {"buffer": 1, "line": 0, "line_pitch": 0} | fields


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"bus{s[0]}-flight{s[1]}-burst{s[2]}")
def test_rtl_is_exact(size: tuple[int, int, int], tmp_path: Path) -> None:
    spec = dma_spec(*size)
    programs = [random_program(spec, Unit.STORE, s, stall=stall) for s, stall in SMOOTH + STALLING]
    for program, got in zip(programs, run_dma(spec, programs, tmp_path), strict=True):
        what = f"seed {program.seed}, stall {program.stall}, {program.memory}"
        beats = sum(c["rows"] * c["row_beats"] for _, c in program.stores)
        assert not got.hang, what
        np.testing.assert_array_equal(got.memory, expected_memory(program, spec.bus_bytes), what)
        assert got.write_bytes == spec.bus_bytes * beats, what
        assert (got.violations, got.store_error) == (0, 0), what
        if not program.stall:
            assert (got.accepts[1], got.dones[1]) == predict(spec, program), what


def test_loads_and_stores_do_not_disturb_each_other(tmp_path: Path) -> None:
    spec = dma_spec(8, 4, 256)
    image = np.zeros(1 << 14, dtype=np.uint8)
    one = Program(stores=[(3, store(row_beats=500))], image=image, memory=MemorySpec())
    load = store(address=1 << 13, row_beats=400) | {"unit": Unit.LOAD}
    alone, both = run_dma(spec, [one, replace(one, loads=[(0, load)])], tmp_path)
    assert alone.dones[1] == both.dones[1] == predict(spec, one)[1]
    np.testing.assert_array_equal(both.memory, alone.memory)


def test_first_error_response_stays(tmp_path: Path) -> None:
    spec = dma_spec(8, 4, 256)
    image = np.zeros(68, dtype=np.uint8)  # the beat at 64 lies across the end
    stores = [(0, store(address=address)) for address in (0, 64, 72, 8)]
    program = Program(stores=stores, image=image, memory=MemorySpec())
    (got,) = run_dma(spec, [program], tmp_path)
    assert got.store_error == SLVERR
    inside = replace(program, stores=[stores[0], stores[3]])
    np.testing.assert_array_equal(got.memory, expected_memory(inside, spec.bus_bytes))
    (got,) = run_dma(spec, [replace(program, stores=stores[2:])], tmp_path)
    assert got.store_error == DECERR


def test_one_beat_takes_the_latency_and_seven_cycles() -> None:
    spec = replace(dma_spec(8, 4, 16), memory=MemorySpec(latency=20, bytes_per_cycle=8))
    # Issue, read, three cycles to the data, queue, memory, done.
    assert WriteChannel(spec).store(store(), 100) == (100, 100 + 1 + 1 + 3 + 1 + 20 + 1)
