"""What comes out of training steps, and its JSON."""

from dataclasses import dataclass, field
from typing import Any

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.account import by_stage, shares, step_floor
from moesaic.dataflow.training.mapper import TrainProgram
from moesaic.models.accel import AccelSpec
from moesaic.models.training.method import Method, Optimiser
from moesaic.models.training.trainee import Trainee

STAGES = ("map", "model", "elaborate", "compile", "simulate", "compare")


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
