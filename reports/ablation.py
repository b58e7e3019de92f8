"""One technique left out at a time: what each gains, from whole runs of a model.

The techniques are those of Edge-MoE (arXiv 2305.18691): the order of attention, softmax's single
pass, GELU by a table, one unit for all products, experts one after another. Every row is a run
like any other, compared to the bit and to the cycle, with the resources of its machine.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moesaic.dataflow.options import MapOptions
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import dump_accel, load_integer_accel
from moesaic.models.commands import Buffer
from moesaic.models.geometry import geometry
from moesaic.models.graph import Route
from moesaic.reports.ablation_view import SHOWN
from moesaic.reports.synth import FAMILIES, synthesise
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions
from moesaic.sim.run_result import RunResult

COPIED = (
    "bit_exact",
    "layers_compared",
    "cycles_predicted",
    "cycles_rtl",
    "cycles_exact",
    "latency_s",
    "bytes_read",
    "bytes_written",
    "accuracy",
    "failures",
)
Progress = Callable[[int, int, str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a row changes: fields of the accelerator, fields of the run."""

    name: str
    accel: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)
    routed: bool = False  # makes sense for networks with experts only


VARIANTS = (
    Variant(name="as it is"),
    Variant(name="attention in plain order", run={"mapping": MapOptions(attention="plain")}),
    Variant(name="softmax in two passes", run={"softmax_passes": 2}),
    Variant(name="softmax in three passes", run={"softmax_passes": 3}),
    Variant(name="GELU by a polynomial", accel={"gelu": "polynomial"}),
    Variant(name="an array for each kind", accel={"arrays": "separate"}),
    Variant(
        name="experts token by token", run={"mapping": MapOptions(experts="by-token")}, routed=True
    ),
)
"""The first one is what the others are compared with."""


def ablate(
    options: RunOptions, progress: Progress | None = None, *, resources: bool = True
) -> dict[str, Any]:
    """Run every variant.

    Parameters
    ----------
    options : RunOptions
        The run to vary.
    progress : callable, optional
        Called with rows done, rows in all, and the name of the next.
    resources : bool
        Whether the machines are synthesised.

    Returns
    -------
    dict
        ``model``, ``accel``, ``task``, ``backend``, ``clock_hz``, ``target``, ``limits`` of the
        part, and ``rows`` with ``name``, ``slower`` (cycles over those of the first row),
        ``on_chip_bytes`` (scratchpads in use at most), ``resources`` by name, None without
        synthesis, and the figures of a run named in COPIED.
    """
    spec = load_integer_accel(options.accel)
    target = next((t for t, part in FAMILIES.items() if spec.board.part.startswith(part)), "xcup")
    rows: list[dict[str, Any]] = []
    limits: dict[str, int] = {}
    variants = list(VARIANTS)
    with tempfile.TemporaryDirectory() as folder:
        for number, variant in enumerate(VARIANTS):
            if variant not in variants:
                continue
            if progress:
                progress(len(rows), len(variants), variant.name)
            machine = replace(spec, **variant.accel)
            changes: dict[str, Any] = dict(variant.run)
            if variant.accel:
                path = Path(folder, f"{spec.name}-{number}.yaml")
                path.write_text(dump_accel(machine))
                changes["accel"] = str(path)
            result = run(replace(options, **changes))
            if not any(isinstance(node, Route) for node in result.program.graph.nodes):
                variants = [v for v in variants if not v.routed]
            counted = synthesise(machine, target) if resources else None
            limits = counted["limits"] if counted else {}
            rows.append(_row(variant.name, result, rows) | {"resources": _totals(counted)})
    if progress:
        progress(len(rows), len(rows), "")
    return {
        "model": options.model,
        "accel": spec.name,
        "task": options.task,
        "backend": options.backend,
        "clock_hz": spec.clock_hz,
        "target": target,
        "limits": limits,
        "rows": rows,
    }


def _row(name: str, result: RunResult, rows: list[dict[str, Any]]) -> dict[str, Any]:
    figures = result.to_json()
    first = rows[0] if rows else figures
    return {
        "name": name,
        "slower": _cycles(figures) / _cycles(first),
        "on_chip_bytes": _scratchpad_bytes(result.program.spec, result.program.peak_words),
    } | {key: figures[key] for key in COPIED}


def _totals(counted: dict[str, Any] | None) -> dict[str, float] | None:
    return counted["totals"] if counted else None


def _scratchpad_bytes(spec: AccelSpec, peak_words: dict[str, int]) -> int:
    """Return the bytes of all scratchpads that a program uses at most."""
    return sum(
        words * geometry(spec, Buffer[name.upper()]).width // 8
        for name, words in peak_words.items()
    )


def _cycles(figures: dict[str, Any]) -> int:
    rtl = figures["cycles_rtl"]
    return int(figures["cycles_predicted"] if rtl is None else rtl)


def table(result: dict[str, Any]) -> str:
    """Return the rows as text."""
    names = [name for name in SHOWN if name in (result["rows"][0]["resources"] or ())]
    head = f"{'':<26} {'cycles':>12} {'slower':>7} {'bytes read':>12} {'on chip':>9}"
    lines = [head + "".join(f" {name:>8}" for name in names) + "  on RTL"]
    for row in result["rows"]:
        verdict = "not run"
        if row["cycles_rtl"] is not None:
            exact = row["bit_exact"] and row["cycles_exact"]
            verdict = "equal in bits and cycles" if exact else f"DIFFERS: {row['failures'][0]}"
        used = "".join(f" {row['resources'][name]:>8,}" for name in names)
        lines.append(
            f"{row['name']:<26} {_cycles(row):>12,} {row['slower']:>7.3f} "
            f"{row['bytes_read']:>12,} {row['on_chip_bytes']:>9,}{used}  {verdict}"
        )
    return "\n".join(lines)
