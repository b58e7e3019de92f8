"""One technique left out at a time: what each gains, from whole runs of a model.

The techniques are those of Edge-MoE (arXiv 2305.18691): the order of attention, softmax's single
pass, GELU by a table. Every row is a run like any other, compared to the bit and to the cycle.
"""

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from moesaic.dataflow.options import MapOptions
from moesaic.models.accel_io import dump_accel, load_integer_accel
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions

COPIED = (
    "bit_exact",
    "cycles_predicted",
    "cycles_rtl",
    "cycles_exact",
    "bytes_read",
    "bytes_written",
    "scratchpads",
    "accuracy",
    "failures",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """What a row changes: fields of the accelerator, fields of the run."""

    name: str
    accel: dict[str, Any] = field(default_factory=dict)
    run: dict[str, Any] = field(default_factory=dict)


VARIANTS = (
    Variant(name="as it is"),
    Variant(name="attention in plain order", run={"mapping": MapOptions(attention="plain")}),
    Variant(name="softmax in two passes", run={"softmax_passes": 2}),
    Variant(name="softmax in three passes", run={"softmax_passes": 3}),
    Variant(name="GELU by a polynomial", accel={"gelu": "polynomial"}),
)
"""The first one is what the others are compared with."""


def ablate(
    options: RunOptions, progress: Callable[[int, int, str], None] | None = None
) -> dict[str, Any]:
    """Run every variant.

    Parameters
    ----------
    options : RunOptions
        The run to vary.
    progress : callable, optional
        Called with rows done, rows in all, and the name of the next.

    Returns
    -------
    dict
        ``model``, ``accel``, ``task``, ``backend``, and ``rows`` with ``name``, ``slower`` (cycles
        over those of the first row) and the figures of a run named in COPIED.
    """
    spec = load_integer_accel(options.accel)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for number, variant in enumerate(VARIANTS):
            if progress:
                progress(number, len(VARIANTS), variant.name)
            changes: dict[str, Any] = dict(variant.run)
            if variant.accel:
                path = Path(folder, f"{spec.name}-{number}.yaml")
                path.write_text(dump_accel(replace(spec, **variant.accel)))
                changes["accel"] = str(path)
            result = run(replace(options, **changes)).to_json()
            first = rows[0] if rows else result
            rows.append(
                {"name": variant.name, "slower": _cycles(result) / _cycles(first)}
                | {key: result[key] for key in COPIED}
            )
    if progress:
        progress(len(VARIANTS), len(VARIANTS), "")
    return {
        "model": options.model,
        "accel": spec.name,
        "task": options.task,
        "backend": options.backend,
        "rows": rows,
    }


def _cycles(figures: dict[str, Any]) -> int:
    rtl = figures["cycles_rtl"]
    return int(figures["cycles_predicted"] if rtl is None else rtl)


def table(result: dict[str, Any]) -> str:
    """Return the rows as text."""
    head = f"{'':<26} {'cycles':>12} {'slower':>7} {'bytes read':>12}  on RTL"
    lines = [head]
    for row in result["rows"]:
        verdict = "not run"
        if row["cycles_rtl"] is not None:
            exact = row["bit_exact"] and row["cycles_exact"]
            verdict = "equal in bits and cycles" if exact else f"DIFFERS: {row['failures'][0]}"
        lines.append(
            f"{row['name']:<26} {_cycles(row):>12,} {row['slower']:>7.3f} "
            f"{row['bytes_read']:>12,}  {verdict}"
        )
    return "\n".join(lines)
