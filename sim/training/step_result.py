"""What comes out of training steps, and its JSON."""

from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.account import (
    Share,
    busy_units,
    by_stage,
    layers_of,
    shares,
    step_floor,
)
from moesaic.dataflow.training.mapper import TrainProgram
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import UNITS, Unit
from moesaic.models.training.memories import Store, shape
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.trainee import Trainee
from moesaic.sim.training.against_dense import DenseStep, ratio
from moesaic.sim.training.checked import Checked

STAGES = ("map", "dense", "model", "elaborate", "compile", "simulate", "compare")


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
class StepRun(Checked):
    """One step: the model's loss, and what RTL made of it."""

    loss: float
    overflow: bool


@dataclass(slots=True, kw_only=True)
class StepResult:
    """All steps of a run with their program and prediction; `dense` is what sparse ones face."""

    options: StepOptions
    spec: AccelSpec
    model: Trainee
    program: TrainProgram
    timing: Timing
    runs: list[StepRun]
    seconds: dict[str, float]
    dense: DenseStep | None = None
    notes: list[str] = field(default_factory=list)

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

    @property
    def _cycles(self) -> int:
        """Cycles of the first step: on RTL, if it ran."""
        seen = self.runs[0].cycles
        return self.timing.cycles if seen is None else seen

    @property
    def _macs(self) -> tuple[int, int]:
        """MACs of a step: executed, and without N:M."""
        notes = self.program.notes
        return sum(note.macs for note in notes), sum(note.dense_macs for note in notes)

    def _at(self) -> tuple[list[int], list[int], int]:
        """Return when the first step's commands were taken and done, and its cycles."""
        first = self.runs[0]
        if first.cycles is None:
            return self.timing.accepted, self.timing.done, self.timing.cycles
        return first.accepted, first.done, first.cycles

    def to_json(self) -> dict[str, Any]:
        """Return everything as one plain object."""
        spec, options, first, timing = self.spec, self.options, self.runs[0], self.timing
        names = self.model.layers
        predicted = shares(self.program, names, timing.accepted, timing.done, timing.cycles)
        seen = shares(self.program, names, *self._at()) if options.rtl else predicted
        limit = step_floor(self.program, timing)
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
            "loss": [run.loss if isfinite(run.loss) else None for run in self.runs],
            "overflow": [run.overflow for run in self.runs],
            "bit_exact": options.rtl and not any(run.mismatches for run in self.runs),
            "layers_compared": first.layers,
            "values_compared": sum(run.compared for run in self.runs),
            "mismatches": sum(run.mismatches for run in self.runs),
            "failures": self.failures,
            "cycles_predicted": timing.cycles,
            "cycles_rtl": first.cycles,
            "cycles_rtl_steps": [run.cycles for run in self.runs],
            "cycles_exact": (
                not any("cycle" in text for text in self.failures) if options.rtl else None
            ),
            "cycles_floor": {
                "compute": limit.compute,
                "bandwidth": limit.bandwidth,
                "max": limit.max,
            },
            "bytes_read": timing.bytes_read,
            "bytes_written": timing.bytes_written,
            **self._work(),
            **self._against_dense(predicted),
            "accuracy": None,
            "seconds": {name: round(self.seconds.get(name, 0.0), 4) for name in STAGES},
            "scratchpads": self.program.peak_words,
            "scratchpad_words": {
                name: shape(spec, Store[name]).depth for name in self.program.peak_words
            },
            "units": busy_units(self.program, *self._at()),
            "notes": self.notes,
            "stages": self._stages(predicted, seen),
            "layers": self._layers(predicted, seen),
            "timeline": self._timeline(),
        }

    def _work(self) -> dict[str, Any]:
        """Return MACs, executed and as if dense, and the rates of both at the assumed clock."""
        spec, (macs, dense_macs) = self.spec, self._macs
        peak = self._cycles * spec.macs_per_cycle
        latency = self._cycles / spec.clock_hz
        return {
            "macs": macs,
            "dense_macs": dense_macs,
            "utilisation": macs / peak,
            "dense_equivalent_utilisation": dense_macs / peak,
            "macs_per_cycle": spec.macs_per_cycle,
            "clock_hz": spec.clock_hz,
            "clock_is": "assumed",
            "latency_s": latency,
            "gops": 2 * macs / latency / 1e9,
            "dense_equivalent_gops": 2 * dense_macs / latency / 1e9,
        }

    def _against_dense(self, predicted: list[Share]) -> dict[str, Any]:
        """Return the dense step, the bound by MACs, and how much of it a sparse step reaches.

        The first layer and the classifier, attention's products and layers that M does not divide
        are dense in both, so the bound is that of this network, not M/N.
        """
        speedup, dense = None, self.dense
        if dense is not None:
            speedup = dense.timing.cycles / self.timing.cycles
        macs, dense_macs = self._macs
        bound = ratio(dense_macs, macs)
        return {
            "dense": None if dense is None else dense.to_json(predicted),
            "speedup": speedup,
            "bound": bound,
            "of_bound": speedup / bound if speedup and bound else None,
        }

    def _stages(self, predicted: list[Share], seen: list[Share]) -> dict[str, Any]:
        on_rtl = by_stage(seen)
        return {
            name: {
                "macs": figures["macs"],
                "dense_macs": figures["dense_macs"],
                "cycles_predicted": figures["cycles"],
                "cycles_rtl": on_rtl[name]["cycles"] if self.options.rtl else None,
                "bytes_read": figures["bytes_read"],
                "bytes_written": figures["bytes_written"],
            }
            for name, figures in by_stage(predicted).items()
        }

    def _layers(self, predicted: list[Share], seen: list[Share]) -> list[dict[str, Any]]:
        peak = self.spec.macs_per_cycle
        return [
            {
                "name": a.layer,
                "op": a.stage,
                "macs": a.macs,
                "dense_macs": a.dense_macs,
                "cycles_predicted": a.cycles,
                "cycles_rtl": b.cycles if self.options.rtl else None,
                "bytes_read": a.bytes_read,
                "bytes_written": a.bytes_written,
                "utilisation": a.macs / (a.cycles * peak) if a.cycles else 0.0,
                "float_error": None,
            }
            for a, b in zip(predicted, seen, strict=True)
        ]

    def _timeline(self) -> list[dict[str, Any]]:
        """Return each command with its unit, layer, stage, first and last cycle; RTL's, if it ran.

        What the machine fetches for itself has no stage.
        """
        names = layers_of(self.program, self.model.layers)
        accepted, done, _ = self._at()
        return [
            {
                "unit": Unit(command["unit"]).name.lower(),
                "node": name,
                "stage": note.stage,
                "start": start,
                "end": end,
            }
            for command, note, name, start, end in zip(
                self.program.commands, self.program.notes, names, accepted, done, strict=True
            )
            if command["unit"] in UNITS and 0 <= start <= end
        ]
