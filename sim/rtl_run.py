"""The RTL's part of a run: elaborate, compile, simulate every batch, compare with the models."""

import tempfile
from itertools import count
from pathlib import Path

import numpy as np

from moesaic.dataflow.cycles import Timing, predict
from moesaic.dataflow.program import Program
from moesaic.dataflow.queues import queue_lengths, routes
from moesaic.models.commands import UNITS, Unit
from moesaic.models.execute import execute
from moesaic.models.graph import Ints
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.options import RunOptions, StageClock
from moesaic.sim.run_result import RtlRun
from moesaic.sim.system import WAVES, Job, RunLog, build_system, outputs, simulate
from moesaic.sim.verilog_cache import cached_verilog

RESULT = "result in memory"


def run_rtl(
    program: Program, timing: Timing, inputs: Ints, options: RunOptions, clock: StageClock
) -> tuple[RtlRun, ...]:
    """Run the input matrices (images, tokens, channels) batch by batch.

    Waves appear under their name when they are whole.
    """
    batch, waves = options.batch, options.waves_file
    kind = None if waves is None else WAVES[waves.suffix]
    batches = [list(inputs[i : i + batch]) for i in range(0, len(inputs), batch)]
    with clock("elaborate"):
        verilog = cached_verilog(program.spec)
    with clock("compile"):
        build_system(program.spec, waves=kind, verilog=verilog)
    where = None if waves is None else waves.resolve().parent
    with (
        tempfile.TemporaryDirectory(prefix="moesaic-") as folder,
        tempfile.TemporaryDirectory(prefix=".moesaic-", dir=where or folder) as wave_folder,
    ):
        scratch = Path(wave_folder, waves.name) if waves else None
        with clock("simulate"):
            jobs = [
                Job(program=program, inputs=part, stall=options.stall, seed=options.seed + i)
                for i, part in enumerate(batches, 1)
            ]
            logs, _ = simulate(jobs, Path(folder), waves_file=scratch, verilog=verilog)
        if waves and scratch:
            scratch.replace(waves)
    with clock("compare"):
        stalled = options.stall > 0
        return tuple(
            _compared(program, timing, log, part, stalled=stalled)
            for log, part in zip(logs, batches, strict=True)
        )


def _compared(
    program: Program, timing: Timing, log: RunLog, batch: list[Ints], *, stalled: bool
) -> RtlRun:
    """Compare one run: all tensors, the results in memory and, without stalls, all cycles."""
    lanes, last = program.spec.lanes, program.graph.nodes[-1].name
    tensors = [execute(program.graph, x, lanes=lanes) for x in batch]
    timing = predict(program, queue_lengths(program, tensors)) if routes(program) else timing
    comparison = compare_tensors(program, log, tensors)
    results = np.stack(outputs(program, log))
    expected = np.stack([values[last] for values in tensors])
    comparison.layer(last).add(results, expected, RESULT)
    return RtlRun(
        cycles=log.cycles,
        bytes_read=log.read_bytes,
        bytes_written=log.write_bytes,
        accepted=_by_command(program, log.accepted),
        done=_by_command(program, log.done),
        compared={name: check.compared for name, check in comparison.layers.items()},
        different={name: check.different for name, check in comparison.layers.items()},
        first_difference=comparison.first,
        first_cycle_difference="" if stalled else _first_cycle(program, log, timing),
        results=results,
        timing=timing,
    )


def _first_cycle(program: Program, log: RunLog, timing: Timing) -> str:
    """Return the first difference in cycles, or in bytes moved."""
    found = compare_cycles(program, log, timing)
    moved, predicted = (
        (log.read_bytes, log.write_bytes),
        (timing.bytes_read, timing.bytes_written),
    )
    if not found and moved != predicted:
        return f"{moved} bytes read and written, predicted {predicted}"
    return found


def _by_command(program: Program, cycles: dict[Unit, Ints]) -> list[int]:
    """Return the cycle of each command in the program's order; -1 where there is none."""
    # The processor's own fetch of the first block is no command.
    places = {unit: count(1 if unit == Unit.LOAD else 0) for unit in UNITS}
    out = []
    for command in program.commands:
        unit = Unit(command["unit"])
        place = next(places[unit]) if unit in places else -1
        known = 0 <= place < len(cycles.get(unit, ()))
        out.append(int(cycles[unit][place]) if known else -1)
    return out
