"""Training steps, from a model's name to their numbers. Read :func:`run_steps` first."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.image import read_tensor
from moesaic.dataflow.training.mapper import TrainProgram, map_step
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import UNITS, Unit
from moesaic.models.errors import InputError
from moesaic.models.float_format import FORMATS
from moesaic.models.numbers import INTEGER
from moesaic.models.training.execute import Machine, Value, Weights
from moesaic.models.training.method import METHODS
from moesaic.models.training.state import first_state, next_state
from moesaic.models.training.step import Role
from moesaic.models.training.trainee import Trainee, load_trainee
from moesaic.sim.training.against_dense import DenseStep, predict_dense
from moesaic.sim.training.step_result import StepOptions, StepResult, StepRun

Progress = Callable[[str], None]


def _silent(_stage: str) -> None:
    """Tell nobody."""


def run_steps(options: StepOptions, progress: Progress = _silent) -> StepResult:
    """Build, map and predict a step; run it as often as asked, on RTL too, and compare.

    Raises InputError for what the user can mend. Differences do not raise: `failures` tells them.
    """
    seconds: dict[str, float] = {}
    began = perf_counter()
    spec, model = load_training_accel(options.accel), load_trainee(options.model)
    _check(options, spec)
    fmt = FORMATS[spec.numbers]
    images, labels = model.images(options.batch * options.steps, options.seed)
    progress("map")
    step = model.step(method=options.method, optimiser=options.optimiser, batch=options.batch)
    program = map_step(step, spec)
    timing = predict_step(program)
    seconds["map"] = perf_counter() - began

    dense, notes = _dense(model, spec, options, progress, seconds)

    state = first_state(step, model.parameters, fmt)
    runs = []
    for number in range(options.steps):
        part = slice(number * options.batch, (number + 1) * options.batch)
        given = state | model.inputs(step, images[part], labels[part], fmt)
        progress(f"step {number + 1} of {options.steps}")
        found, run = _run(program, timing, given, options, seconds)
        runs.append(run)
        state = next_state(step, state, found)
    return StepResult(
        options=options,
        spec=spec,
        model=model,
        program=program,
        timing=timing,
        runs=runs,
        seconds=seconds,
        dense=dense,
        notes=notes,
    )


def load_training_accel(name: str) -> AccelSpec:
    """Return an accelerator with `numbers` fp16 or bf16; InputError if it is for integers."""
    spec = load_accel(name)
    if spec.numbers == INTEGER:
        raise InputError(f"--accel {spec.name} takes integers, a training step needs fp16 or bf16")
    return spec


def _check(options: StepOptions, spec: AccelSpec) -> None:
    nm = options.method.nm
    if nm is not None and nm not in spec.sparsity:
        known = ", ".join(map(str, spec.sparsity))
        raise InputError(f"--nm must be one of {known} on {spec.name}, not {nm}")


def _dense(
    model: Trainee,
    spec: AccelSpec,
    options: StepOptions,
    progress: Progress,
    seconds: dict[str, float],
) -> tuple[DenseStep | None, list[str]]:
    """Predict the dense step beside a sparse one; None, and a note, where it does not fit."""
    if options.method.nm is None:
        return None, []
    progress("map the dense step")
    began = perf_counter()
    try:
        return predict_dense(model, spec, optimiser=options.optimiser, batch=options.batch), []
    except InputError as error:
        return None, [f"no dense step to compare with: {error}"]
    finally:
        seconds["dense"] = perf_counter() - began


def _run(
    program: TrainProgram,
    timing: Timing,
    given: dict[str, Value],
    options: StepOptions,
    seconds: dict[str, float],
) -> tuple[dict[str, Value], StepRun]:
    """Run one step in numpy, and on RTL beside it."""
    spec = program.spec
    machine = Machine(fmt=FORMATS[spec.numbers], rows=spec.rows, lanes=spec.lanes)
    began = perf_counter()
    if not options.rtl:
        found = machine.run(program.step, given)
        seconds["model"] = seconds.get("model", 0.0) + perf_counter() - began
        return found, StepRun(
            loss=_number(found["loss"]), overflow=bool(_number(found["overflow"]))
        )

    from moesaic.sim.training.compare import StepCompare
    from moesaic.sim.training.system import run_step

    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        log = run_step(program, given, Path(folder), stall=options.stall, seed=options.seed + 1)
    seconds["simulate"] = seconds.get("simulate", 0.0) + perf_counter() - began
    began = perf_counter()
    compare = StepCompare(program=program, log=log, machine=machine)
    found = compare.run(given)
    _compare_memory(program, log.memory, found, compare)
    run = StepRun(
        loss=_number(found["loss"]),
        overflow=bool(_number(found["overflow"])),
        cycles=log.cycles,
        compared=sum(check.compared for check in compare.out.layers.values()),
        layers=len(compare.out.layers),
        mismatches=compare.out.mismatches,
        accepted=_in_order(program, log.accepted),
        done=_in_order(program, log.done),
        bytes_read=log.read_bytes,
        bytes_written=log.write_bytes,
    )
    if compare.out.first:
        run.failures.append(compare.out.first)
    if not options.stall:
        run.failures += _cycle_failures(program, timing, run)
    seconds["compare"] = seconds.get("compare", 0.0) + perf_counter() - began
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


def _cycle_failures(program: TrainProgram, timing: Timing, run: StepRun) -> list[str]:
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


def _number(value: Value) -> float:
    assert isinstance(value, np.ndarray)
    return float(value.reshape(-1)[0])


__all__ = ["METHODS", "StepOptions", "StepResult", "load_training_accel", "run_steps"]
