"""Training steps, from a model's name to their numbers. Read :func:`run_steps` first."""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.account import by_stage, shares, step_floor
from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.image import read_tensor
from moesaic.dataflow.training.mapper import TrainProgram, map_step
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import UNITS, Unit
from moesaic.models.errors import InputError
from moesaic.models.float_format import FORMATS
from moesaic.models.numbers import INTEGER
from moesaic.models.training.adam import corrections
from moesaic.models.training.execute import Machine, Value, Weights
from moesaic.models.training.method import METHODS, Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.sparse_update import draws
from moesaic.models.training.state import first_state, next_state
from moesaic.models.training.step import Role
from moesaic.models.training.trainee import Trainee, load_trainee

STAGES = ("map", "model", "elaborate", "compile", "simulate", "compare")
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """What is asked for; names as of `moesaic step`."""

    model: str
    accel: str
    method: Method
    batch: int = 8
    backend: str = "both"
    steps: int = 1
    seed: int = 0
    stall: float = 0.0
    optimiser: Optimiser = field(default_factory=Optimiser)

    @property
    def rtl(self) -> bool:
        """Whether RTL runs."""
        return self.backend != "model"


@dataclass(slots=True, kw_only=True)
class StepRun:
    """One step: the model's loss, and what RTL made of it."""

    loss: float
    overflow: bool
    cycles: int | None = None
    compared: int = 0
    layers: int = 0
    mismatches: int = 0
    failures: list[str] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0


@dataclass(slots=True, kw_only=True)
class StepResult:
    """All steps of a run with their program and prediction."""

    options: StepOptions
    spec: AccelSpec
    model: Trainee
    program: TrainProgram
    timing: Timing
    runs: list[StepRun]
    seconds: dict[str, float]

    @property
    def failures(self) -> list[str]:
        """What differs, one line each."""
        return [
            f"step {number + 1}: {text}"
            for number, run in enumerate(self.runs)
            for text in run.failures
        ]

    @property
    def _tokens(self) -> int:
        """Rows of a batch: tokens of an encoder, else pixels of the images."""
        tensors = self.program.step.tensors
        return (tensors.get("embed") or tensors["image"]).rows

    def to_json(self) -> dict[str, Any]:
        """Return everything as one plain object."""
        spec, options, first = self.spec, self.options, self.runs[0]
        rtl = options.rtl
        cycles = first.cycles if first.cycles is not None else self.timing.cycles
        names = self.model.layers
        timing = self.timing
        predicted = shares(self.program, names, timing.accepted, timing.done, timing.cycles)
        seen = predicted
        if rtl and first.cycles is not None:
            seen = shares(self.program, names, first.accepted, first.done, first.cycles)
        limit = step_floor(self.program, timing)
        macs = sum(note.macs for note in self.program.notes)
        stages, seen_stages = by_stage(predicted), by_stage(seen)
        return {
            "model": self.model.name,
            "accel": spec.name,
            "backend": options.backend,
            "method": options.method.name,
            "nm": str(options.method.nm) if options.method.nm else None,
            "update": str(options.method.update) if options.method.update else None,
            "optimiser": options.optimiser.kind,
            "rate": options.optimiser.rate,
            "batch": options.batch,
            "steps": options.steps,
            "seed": options.seed,
            "stall": options.stall,
            "tokens": self._tokens,
            "macs": macs,
            "loss": [run.loss for run in self.runs],
            "overflow": [run.overflow for run in self.runs],
            "bit_exact": rtl and not any(run.mismatches for run in self.runs),
            "layers_compared": first.layers,
            "values_compared": sum(run.compared for run in self.runs),
            "mismatches": sum(run.mismatches for run in self.runs),
            "failures": self.failures,
            "cycles_predicted": timing.cycles,
            "cycles_rtl": first.cycles,
            "cycles_rtl_steps": [run.cycles for run in self.runs],
            "cycles_exact": not any("cycle" in text for text in self.failures) if rtl else None,
            "cycles_floor": {
                "compute": limit.compute,
                "bandwidth": limit.bandwidth,
                "max": limit.max,
            },
            "utilisation": macs / (cycles * spec.macs_per_cycle),
            "macs_per_cycle": spec.macs_per_cycle,
            "bytes_read": timing.bytes_read,
            "bytes_written": timing.bytes_written,
            "clock_hz": spec.clock_hz,
            "clock_is": "assumed",
            "latency_s": cycles / spec.clock_hz,
            "accuracy": None,
            "seconds": {name: round(self.seconds.get(name, 0.0), 4) for name in STAGES},
            "scratchpads": self.program.peak_words,
            "stages": {
                name: {
                    "macs": figures["macs"],
                    "cycles_predicted": figures["cycles"],
                    "cycles_rtl": seen_stages[name]["cycles"] if rtl else None,
                    "bytes_read": figures["bytes_read"],
                    "bytes_written": figures["bytes_written"],
                }
                for name, figures in stages.items()
            },
            "layers": [
                {
                    "name": a.layer,
                    "op": a.stage,
                    "macs": a.macs,
                    "cycles_predicted": a.cycles,
                    "cycles_rtl": b.cycles if rtl else None,
                    "bytes_read": a.bytes_read,
                    "bytes_written": a.bytes_written,
                    "utilisation": a.macs / (a.cycles * spec.macs_per_cycle) if a.cycles else 0.0,
                    "float_error": None,
                }
                for a, b in zip(predicted, seen, strict=True)
            ],
        }


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
