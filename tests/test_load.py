"""hw.load on the standard memory: data against the image, cycles against dataflow.memory."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.memory import ReadChannel
from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.commands import Command, Unit
from moesaic.sim.dma_bench import Program, run_dma
from moesaic.sim.dma_programs import (
    SIZES,
    dma_spec,
    expected_writes,
    is_skipped,
    random_program,
)

SLVERR, DECERR = 0b10, 0b11
SMOOTH = [(seed, 0.0) for seed in range(24)]
STALLING = [(seed, stall) for stall in (0.5, 0.9) for seed in range(100, 105)]


def predict(spec: AccelSpec, program: Program) -> tuple[list[int], list[int]]:
    """Return the cycles of all accepts and of all dones."""
    channel = ReadChannel(replace(spec, memory=program.memory))
    accepts, dones, free = [], [], 0
    for not_before, command in program.loads:
        offer = max(not_before, free)
        accept, done = channel.load(command, offer, skipped=is_skipped(command))
        accepts.append(accept)
        dones.append(done)
        free = accept + 1
    return accepts, dones


def load(**fields: int) -> Command:
    plain = {"unit": Unit.LOAD, "address": 0, "rows": 1, "row_beats": 1, "row_pitch": 0}
    return plain | {"buffer": 1, "line": 0, "line_pitch": 0} | fields


@pytest.mark.parametrize("size", SIZES, ids=lambda s: f"bus{s[0]}-flight{s[1]}-burst{s[2]}")
def test_rtl_is_exact(size: tuple[int, int, int], tmp_path: Path) -> None:
    spec = dma_spec(*size)
    programs = [random_program(spec, Unit.LOAD, s, stall=stall) for s, stall in SMOOTH + STALLING]
    for program, got in zip(programs, run_dma(spec, programs, tmp_path), strict=True):
        what = f"seed {program.seed}, stall {program.stall}, {program.memory}"
        assert not got.hang, what
        assert got.writes == expected_writes(program, spec.bus_bytes), what
        assert got.read_bytes == spec.bus_bytes * len(got.writes), what
        assert (got.violations, got.load_error) == (0, 0), what
        if not program.stall:
            assert (got.accepts[0], got.dones[0]) == predict(spec, program), what


def test_first_error_response_stays(tmp_path: Path) -> None:
    spec = dma_spec(8, 4, 256)
    image = np.arange(68, dtype=np.uint8)  # the beat at 64 lies across the end
    loads = [(0, load(address=address)) for address in (0, 64, 72, 8)]
    program = Program(loads=loads, image=image, memory=MemorySpec())
    (got,) = run_dma(spec, [program], tmp_path)
    assert got.load_error == SLVERR
    beats = [bytes(range(8)), bytes(8), bytes(8), bytes(range(8, 16))]
    assert [beat for _, _, beat in got.writes] == beats
    (got,) = run_dma(spec, [replace(program, loads=loads[2:])], tmp_path)
    assert got.load_error == DECERR


def test_one_beat_takes_the_latency_and_two_cycles() -> None:
    spec = replace(dma_spec(8, 4, 16), memory=MemorySpec(latency=20, bytes_per_cycle=8))
    assert ReadChannel(spec).load(load(), 100) == (100, 100 + 1 + 20 + 1)


def test_two_beats_come_on_credit_then_the_rate_counts() -> None:
    spec = replace(dma_spec(8, 4, 16), memory=MemorySpec(latency=20, bytes_per_cycle=2))
    # Credit for two beats, and 2 bytes in each cycle from the first beat on: the third beat, which
    # lacks 8 bytes, comes 4 cycles after the first, and each further one 4 cycles later.
    first = 1 + 20
    for beats, after in ((1, 0), (2, 1), (3, 4), (4, 8), (9, 28)):
        assert ReadChannel(spec).load(load(row_beats=beats), 0) == (0, first + after + 1)
