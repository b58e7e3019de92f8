"""Training steps, from a model's name to their numbers. Read :func:`run_steps` first."""

import tempfile
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from time import perf_counter

import numpy as np

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.mapper import TrainProgram, map_step
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.errors import InputError
from moesaic.models.float_format import FORMATS
from moesaic.models.numbers import INTEGER
from moesaic.models.training.adam import corrections
from moesaic.models.training.execute import Machine, Value
from moesaic.models.training.method import METHODS
from moesaic.models.training.sparse_update import draws
from moesaic.models.training.state import first_state, next_state
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
    runs: list[StepRun] = []
    for number in range(options.steps):
        part = slice(number * options.batch, (number + 1) * options.batch)
        taken = sum(not run.overflow for run in runs)
        given = state | model.inputs(step, images[part], labels[part], fmt)
        given |= corrections(step, options.optimiser, taken + 1)
        given |= draws(step, options.seed, number + 1)
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
    known = ", ".join(map(str, spec.sparsity))
    for name, nm in (("--nm", options.method.nm), ("--update", options.method.update)):
        if nm is not None and nm not in spec.sparsity:
            raise InputError(f"{name} must be one of {known} on {spec.name}, not {nm}")


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

    from moesaic.sim.training.check import check_on_rtl

    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        found, checked = check_on_rtl(
            program, timing, given, Path(folder), stall=options.stall, seed=options.seed + 1
        )
    for name, spent in checked.seconds.items():
        seconds[name] = seconds.get(name, 0.0) + spent
    loss, overflow = _number(found["loss"]), bool(_number(found["overflow"]))
    parts = {part.name: getattr(checked, part.name) for part in fields(checked)}
    return found, StepRun(loss=loss, overflow=overflow, **parts)


def _number(value: Value) -> float:
    assert isinstance(value, np.ndarray)
    return float(value.reshape(-1)[0])


__all__ = ["METHODS", "StepOptions", "StepResult", "load_training_accel", "run_steps"]
