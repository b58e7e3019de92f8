"""What a run found out, and how it reads as JSON."""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from moesaic.dataflow.account import executed_macs, floor, layer_bytes, layer_cycles
from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.program import Program
from moesaic.models.commands import Buffer, Unit
from moesaic.models.geometry import geometry
from moesaic.models.graph import Input, Ints, Node
from moesaic.models.graph_macs import node_macs
from moesaic.sim.evaluation import Evaluation
from moesaic.sim.options import RunOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RtlRun:
    """One batch on RTL.

    `timing` is what was predicted for it. `accepted` and `done` hold a cycle for each command of
    the program; `compared` and `different` count values by node; the first differences are one line
    each, empty where there is none.
    """

    cycles: int
    bytes_read: int
    bytes_written: int
    accepted: list[int]
    done: list[int]
    compared: dict[str, int]
    different: dict[str, int]
    first_difference: str
    first_cycle_difference: str
    results: Ints
    timing: Timing


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run. All derived figures are those of one batch: one command stream from start to end."""

    model: str
    options: RunOptions
    images: int
    program: Program
    timing: Timing
    runs: tuple[RtlRun, ...]
    evaluation: Evaluation
    seconds: dict[str, float]

    @property
    def cycles_rtl(self) -> int | None:
        """Cycles of the first batch on RTL."""
        return self.runs[0].cycles if self.runs else None

    @property
    def cycles(self) -> int:
        """Cycles on RTL, else as predicted."""
        return self.timing.cycles if self.cycles_rtl is None else self.cycles_rtl

    @property
    def macs(self) -> int:
        """MACs that the array executes."""
        return sum(executed_macs(self.program).values())

    @property
    def dense_macs(self) -> int:
        """MACs as if nothing were pruned."""
        return self.program.graph.macs * self.options.batch

    @cached_property
    def failures(self) -> list[str]:
        """What differs: what, where, and the first difference; empty where all is equal."""
        out = []
        wanted = [n.name for n in self.program.graph.nodes if not isinstance(n, Input)]
        for i, run in enumerate(self.runs):
            which = f"run {i + 1} of {len(self.runs)}"
            if run.first_difference:
                out.append(f"{which}: {run.first_difference}")
            if left := [name for name in wanted if not run.compared.get(name)]:
                out.append(f"{which}: {left[0]} was not compared")
            if run.first_cycle_difference:
                out.append(f"{which}: {run.first_cycle_difference}")
        return out

    @property
    def bit_exact(self) -> bool:
        """Whether every layer's output was compared on RTL, in every run, and was equal."""
        return bool(self.runs) and all(
            not any(run.different.values())
            and all(
                run.compared.get(node.name)
                for node in self.program.graph.nodes
                if not isinstance(node, Input)
            )
            for run in self.runs
        )

    @property
    def cycles_exact(self) -> bool | None:
        """Whether every command of every run took the predicted cycles; None without RTL."""
        if not self.runs:
            return None
        return all(
            (run.cycles, run.accepted, run.done)
            == (run.timing.cycles, run.timing.accepted, run.timing.done)
            for run in self.runs
        )

    def to_json(self) -> dict[str, Any]:
        """Return everything as one plain object."""
        spec, options = self.program.spec, self.options
        limit = floor(self.program, self.timing)
        peak = self.cycles * spec.macs_per_cycle
        latency = self.cycles / spec.clock_hz
        first = self.runs[0] if self.runs else self.timing
        return {
            "model": self.model,
            "accel": spec.name,
            "backend": options.backend,
            "batch": options.batch,
            "task": options.task,
            "images": self.images,
            "tokens": max(node.tokens for node in self.program.graph.nodes),
            "macs": self.macs,
            "dense_macs": self.dense_macs,
            "seed": options.seed,
            "stall": options.stall,
            "bit_exact": self.bit_exact,
            "layers_compared": len({n for run in self.runs for n, c in run.compared.items() if c}),
            "values_compared": sum(sum(run.compared.values()) for run in self.runs),
            "mismatches": len({n for run in self.runs for n, d in run.different.items() if d}),
            "failures": self.failures,
            "cycles_predicted": self.timing.cycles,
            "cycles_rtl": self.cycles_rtl,
            "cycles_rtl_runs": [run.cycles for run in self.runs],
            "cycles_predicted_runs": [run.timing.cycles for run in self.runs],
            "cycles_exact": self.cycles_exact,
            "cycles_floor": {
                "compute": limit.compute,
                "bandwidth": limit.bandwidth,
                "max": limit.max,
            },
            "utilisation": self.macs / peak,
            "dense_equivalent_utilisation": self.dense_macs / peak,
            "macs_per_cycle": spec.macs_per_cycle,
            "bytes_read": first.bytes_read,
            "bytes_written": first.bytes_written,
            "clock_hz": spec.clock_hz,
            "clock_is": "assumed",
            "latency_s": latency,
            "gops": 2 * self.macs / latency / 1e9,
            "accuracy": self.evaluation.accuracy,
            "seconds": {stage: round(value, 4) for stage, value in self.seconds.items()},
            "memory": {
                "latency": spec.memory.latency,
                "bytes_per_cycle": spec.memory.bytes_per_cycle,
            },
            "scratchpads": self._scratchpads(),
            "notes": list(self.program.remarks),
            "layers": self._layers(),
            "timeline": self.timeline(),
            "accelerator": asdict(spec) | {"sparsity": [str(mode) for mode in spec.sparsity]},
        }

    def timeline(self) -> list[dict[str, Any]]:
        """Return each command with its unit, node, part, first and last cycle; RTL's, if it ran."""
        run = self.runs[0] if self.runs else self.timing
        return [
            {
                "unit": Unit(command["unit"]).name.lower(),
                "node": note.node,
                "part": note.part,
                "start": start,
                "end": end,
            }
            for command, note, start, end in zip(
                self.program.commands, self.program.notes, run.accepted, run.done, strict=True
            )
            if command["unit"] != Unit.END and 0 <= start <= end
        ]

    def _scratchpads(self) -> dict[str, dict[str, int]]:
        spec = self.program.spec
        return {
            name: {"peak_words": words, "words": geometry(spec, Buffer[name.upper()]).depth}
            for name, words in sorted(self.program.peak_words.items())
        }

    def _layers(self) -> list[dict[str, Any]]:
        predicted = layer_cycles(
            self.program, self.timing.accepted, self.timing.done, self.timing.cycles
        )
        seen = (
            layer_cycles(
                self.program, self.runs[0].accepted, self.runs[0].done, self.runs[0].cycles
            )
            if self.runs
            else dict.fromkeys(predicted)
        )
        macs, moved = executed_macs(self.program), layer_bytes(self.program, self.timing)
        return [
            self._layer(node, predicted[node.name], seen[node.name], macs[node.name], moved)
            for node in self.program.graph.nodes
        ]

    def _layer(
        self,
        node: Node,
        predicted: int,
        seen: int | None,
        macs: int,
        moved: dict[str, tuple[int, int]],
    ) -> dict[str, Any]:
        cycles = predicted if seen is None else seen
        nm = getattr(node, "nm", None)
        read, written = moved[node.name]
        return {
            "name": node.name,
            "op": type(node).__name__,
            "source": node.source,
            "tokens": node.tokens,
            "channels": node.channels,
            "nm": None if nm is None else str(nm),
            "macs": macs,
            "dense_macs": node_macs(self.program.graph, node).dense * self.options.batch,
            "cycles_predicted": predicted,
            "cycles_rtl": seen,
            "bytes_read": read,
            "bytes_written": written,
            "utilisation": macs / (cycles * self.program.spec.macs_per_cycle) if cycles else 0.0,
            "float_error": self.evaluation.float_errors.get(node.name),
            "compared": sum(run.compared.get(node.name, 0) for run in self.runs),
            "different": sum(run.different.get(node.name, 0) for run in self.runs),
        }
