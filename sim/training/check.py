"""A list of operations on RTL against numpy: every write, what is left in memory, every cycle."""

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.image import read_tensor
from moesaic.dataflow.training.mapper import TrainProgram
from moesaic.models.commands import UNITS, Unit
from moesaic.models.float_format import FORMATS
from moesaic.models.training.execute import Machine, Value, Weights
from moesaic.models.training.step import Role
from moesaic.sim.training.checked import Checked
from moesaic.sim.training.compare import StepCompare
from moesaic.sim.training.system import run_step


def check_on_rtl(
    program: TrainProgram,
    timing: Timing,
    given: Mapping[str, Value],
    folder: Path,
    *,
    stall: float = 0.0,
    seed: int = 1,
) -> tuple[dict[str, Value], Checked]:
    """Run a program on RTL and in numpy; with stalls, cycles are not compared.

    Returns
    -------
    found : dict
        All tensors of the model.
    checked : Checked
    """
    spec = program.spec
    machine = Machine(fmt=FORMATS[spec.numbers], rows=spec.rows, lanes=spec.lanes)
    began = perf_counter()
    log = run_step(program, given, folder, stall=stall, seed=seed)
    simulated = perf_counter()
    compare = StepCompare(program=program, log=log, machine=machine)
    found = compare.run(given)
    _compare_memory(program, log.memory, found, compare)
    run = Checked(
        cycles=log.cycles,
        compared=sum(check.compared for check in compare.out.layers.values()),
        layers=len(compare.out.layers),
        mismatches=compare.out.mismatches,
        accepted=_in_order(program, log.accepted),
        done=_in_order(program, log.done),
        bytes_read=log.read_bytes,
        bytes_written=log.write_bytes,
        seconds={"simulate": simulated - began, "compare": perf_counter() - simulated},
    )
    if compare.out.first:
        run.failures.append(compare.out.first)
    if not stall:
        run.failures += _cycle_failures(program, timing, run)
    return found, run


def _compare_memory(
    program: TrainProgram, memory: Any, found: dict[str, Value], compare: Any
) -> None:
    """Compare what the step left in memory: new weights, momentum, packed weights, the loss."""
    places = compare.program.addresses
    for tensor in program.step.tensors.values():
        if tensor.role != Role.NEXT:
            continue
        address, place_address = places[tensor.name]
        size, place_size = program.sizes[tensor.name]
        left = read_tensor(
            tensor,
            memory[address : address + size],
            memory[place_address : place_address + place_size],
            program.spec,
        )
        check = compare.out.layer(f"{tensor.name} in memory")
        for got, wanted in zip(_patterns(left), _patterns(found[tensor.name]), strict=True):
            check.add(got, wanted, "pattern")


def _patterns(value: Value) -> list[Any]:
    if isinstance(value, Weights):
        parts = [value.values.astype(np.int64)]
        return parts if value.places is None else [*parts, value.places]
    kind = np.uint32 if value.dtype == np.float32 else value.dtype
    return [np.ascontiguousarray(value).view(kind).astype(np.int64)]


def _cycle_failures(program: TrainProgram, timing: Timing, run: Checked) -> list[str]:
    for what, got, predicted in (
        ("taken", run.accepted, timing.accepted),
        ("done", run.done, timing.done),
    ):
        for place, (a, b) in enumerate(zip(got, predicted, strict=True)):
            if a != b:
                note = program.notes[place]
                return [f"command {place} ({note.op}) {what} in cycle {a}, predicted {b}"]
    if run.cycles != timing.cycles:
        return [f"run of {run.cycles} cycles, predicted {timing.cycles}"]
    if (run.bytes_read, run.bytes_written) != (timing.bytes_read, timing.bytes_written):
        return [f"{run.bytes_read} bytes read in all cycles, predicted {timing.bytes_read}"]
    return []


def _in_order(program: TrainProgram, cycles: dict[Unit, Any]) -> list[int]:
    """Return the cycle of each command in the program's order; -1 where there is none."""
    # the processor's own fetch of the first block is no command
    at = {unit: 1 if unit == Unit.LOAD else 0 for unit in UNITS}
    out = []
    for command in program.commands:
        unit = Unit(command["unit"])
        if unit not in at:
            out.append(-1)
            continue
        place, at[unit] = at[unit], at[unit] + 1
        out.append(int(cycles[unit][place]) if place < len(cycles[unit]) else -1)
    return out
