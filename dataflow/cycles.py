"""The cycle model: one pass over the commands, exact to the cycle on the standard memory.

Cycle 0 is the first in which the command processor runs. A program becomes a table of integers
(:mod:`moesaic.dataflow.table`), which a compiled loop runs (:mod:`moesaic.dataflow.kernel`).
"""

from dataclasses import dataclass

import numpy as np

from moesaic.dataflow.memory import constants
from moesaic.dataflow.program import Program
from moesaic.dataflow.table import Queues, Table, VectorCycles, make_table, routed
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Command, Unit, VectorOp
from moesaic.models.pipeline import gather_latency, result_latency
from moesaic.models.vector_timing import vector_cycles


@dataclass(slots=True, kw_only=True)
class Timing:
    """When each command was dispatched, taken by its unit, and done (cycles; -1 for END).

    `skipped` are the places of commands for experts without tokens.
    """

    cycles: int
    dispatched: list[int]
    accepted: list[int]
    done: list[int]
    bytes_read: int
    bytes_written: int
    skipped: set[int]


def predict(program: Program, queues: Queues = ()) -> Timing:
    """Return the exact timing of a program on the standard memory.

    Parameters
    ----------
    program : Program
    queues : iterable
        For each ROUTE command, by expert, the lengths of its queues in all banks: what
        :func:`moesaic.dataflow.queues.queue_lengths` returns.
    """
    table = make_table(program.spec, program.commands, _vector(program.spec))
    return run_integers(program.spec, table, program.program_address, queues)


def integer_table(program: Program) -> Table:
    """Return the columns of a program of the integer machine, as it was mapped."""
    vector = _vector(program.spec)
    return make_table(program.spec, program.unwaited, vector, program.waits)


def run_integers(
    spec: AccelSpec, table: Table, program_address: int, queues: Queues = ()
) -> Timing:
    """Run a table on the integer machine; parameters as those of :func:`predict`."""
    return run(spec, table, program_address, gather_latency(spec), result_latency(spec), queues)


def run(
    spec: AccelSpec,
    table: Table,
    program_address: int,
    loader_latency: int,
    result_latency: int,
    queues: Queues = (),
) -> Timing:
    """Run a program's table.

    Parameters
    ----------
    spec : AccelSpec
    table : Table
    program_address : int
    loader_latency, result_latency : int
        Cycles from the issue of a product's last line, and of its last beat, until it is done.
    queues : iterable
    """
    from moesaic.dataflow.kernel import run_table  # its import takes half a second

    beats, skipped = routed(table, queues)
    dispatched, accepted, done = (np.full(len(table.unit), start) for start in (0, -1, -1))
    end = run_table(
        constants(spec)._replace(
            block_commands=spec.block_commands,
            block_beats=spec.block_commands * COMMAND_BYTES // spec.bus_bytes,
            program_address=program_address,
            loader_latency=loader_latency,
            result_latency=result_latency,
        ),
        table.unit,
        table.waits,
        table.moves,
        table.block,
        table.vector,
        table.tiles,
        beats,
        skipped,
        dispatched,
        accepted,
        done,
    )
    moved = table.moves[:, 1] * table.moves[:, 2] * (skipped == 0) * spec.bus_bytes
    first = spec.block_commands * COMMAND_BYTES  # the command processor's own fetch
    return Timing(
        cycles=end + 1,
        dispatched=dispatched.tolist(),
        accepted=accepted.tolist(),
        done=done.tolist(),
        bytes_read=first + int(moved[table.unit == Unit.LOAD].sum()),
        bytes_written=int(moved[table.unit == Unit.STORE].sum()),
        skipped=set(np.flatnonzero(skipped).tolist()),
    )


def _vector(spec: AccelSpec) -> VectorCycles:
    """Return the cycles of VECTOR commands, worked out once for each kind."""
    known: dict[tuple[int, ...], tuple[int, int]] = {}

    def cycles(command: Command) -> tuple[int, int]:
        rest = (command["beats"], command.get("top", 0), command.get("passes", 0))
        kind = (command["op"], command["tokens"], *rest)
        if kind not in known:
            known[kind] = vector_cycles(spec, VectorOp(kind[0]), *kind[1:])
        return known[kind]

    return cycles
