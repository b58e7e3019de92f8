"""dataflow.kernel: what whole programs on RTL are too short to show."""

import itertools
from dataclasses import replace

import pytest

from moesaic.dataflow.cycles import Timing, run
from moesaic.dataflow.table import make_table
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import WAITS, Buffer, Command, Unit, VectorOp

SPEC = replace(load_accel("tiny"), queue_depth=2)
FREE, LAST = 7, 40  # cycles of each VECTOR command here


def command(unit: Unit, **fields: int) -> Command:
    return {"unit": unit, **dict.fromkeys(WAITS, 0), **fields}


def program(vectors: int, waited: int) -> list[Command]:
    """Return so many VECTOR commands in a row, and an END that waits for the first `waited`."""
    end = command(Unit.END, wait_vector=waited % (1 << 16), wait_load=0)
    beats = SPEC.block_commands * 64 // SPEC.bus_bytes
    fetch = command(Unit.LOAD, address=0, rows=1, row_beats=beats, row_pitch=0)
    fetch["buffer"] = Buffer.COMMAND
    out: list[Command] = []
    for _ in range(vectors):
        if len(out) % SPEC.block_commands == 0:
            out.append(fetch)
        out.append(command(Unit.VECTOR, op=VectorOp.SCALE, tokens=1, beats=1))
    if len(out) % SPEC.block_commands == 0:
        out.append(fetch)
    return [*out, end]


def timing(commands: list[Command]) -> Timing:
    table = make_table(SPEC, commands, lambda _: (FREE, LAST))
    return run(SPEC, table, 0, 0, 0)


@pytest.mark.parametrize("vectors", [5, 70_000])
def test_waits_are_modulo_65536(vectors: int) -> None:
    """END begins a cycle after the last command that it waits for is seen to be over."""
    commands = program(vectors, vectors)
    got = timing(commands)
    done = [end for end, c in zip(got.done, commands, strict=True) if c["unit"] == Unit.VECTOR]
    assert got.cycles == done[-1] + 2
    assert got.dispatched[-1] == done[-1] + 1


def test_a_full_queue_holds_the_command_processor() -> None:
    """A command is sent once the one that lies `queue_depth` before it has left the queue.

    A command leaves the queue in the cycle of its predecessor's handshake or later, and is taken
    a cycle later or when the unit is free.
    """
    commands = program(6, 6)
    got = timing(commands)
    mine = [i for i, c in enumerate(commands) if c["unit"] == Unit.VECTOR]
    left = [max(got.dispatched[mine[0]] + 1, 0)]
    for before, here in itertools.pairwise(mine):
        left.append(max(got.dispatched[here] + 1, got.accepted[before]))
    for k in range(SPEC.queue_depth, len(mine)):
        before = left[k - SPEC.queue_depth]
        assert got.dispatched[mine[k]] >= before + 1
    waiting = [k for k in range(SPEC.queue_depth, len(mine)) if k > SPEC.queue_depth]
    assert any(got.dispatched[mine[k]] == left[k - SPEC.queue_depth] + 1 for k in waiting)


@pytest.mark.parametrize(
    ("commands", "problem"),
    [
        ([command(Unit.VECTOR, op=0, tokens=1, beats=1)], "the program has no END"),
        ([], "the program has no END"),
        (
            [command(Unit.STREAM, n_tiles=1, k_tiles=1, beats=1), command(Unit.END)],
            "a STREAM command follows its STATIONARY command",
        ),
    ],
)
def test_programs_that_cannot_end_are_refused(commands: list[Command], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        make_table(SPEC, commands, lambda _: (FREE, LAST))
