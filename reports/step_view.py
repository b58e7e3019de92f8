"""A training step as its page shows it: stages and layers beside the dense step, units, losses."""

import shlex
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from moesaic.models.training.step import STAGES
from moesaic.reports.cycle_account import CAUSES, OF_STEP, Cause, account, by_node
from moesaic.reports.figures import percent, times
from moesaic.reports.groups import block_of, grouped, kind_of
from moesaic.reports.line_chart import line_chart
from moesaic.reports.run_record import UNITS, Fill
from moesaic.reports.step_record import StepRecord
from moesaic.reports.timeline_view import TITLES, timeline_view
from moesaic.reports.verdicts import bits_verdict, cycles_verdict, floor_bars

STAGE_TITLES = {stage: stage.replace("_", " ") for stage in STAGES}
DENSE = "dense "  # in front of a stage: the dense step's
OF = " · "  # between a stage and the layer
Row = dict[str, Any]


def step_view(step: StepRecord) -> Row:
    """Return everything that the template ``step.html.j2`` shows."""
    named = replace(
        step,
        timeline=[
            replace(bar, node=f"{bar.stage}{OF}{bar.node}" if bar.stage else bar.node, part=-1)
            for bar in step.timeline
        ],
    )
    # what the machine fetches for itself belongs to no layer, as in the step's figures
    bars = [bar for bar in named.timeline if bar.stage]
    causes = by_node(account(bars, step.cycles, OF_STEP)) if bars else {}
    totals = {cause: sum(node[cause] for node in causes.values()) for cause in Cause}
    return {
        "step": step,
        "title": f"{step.model} on {step.accel}, {step.title}",
        "verdicts": [
            bits_verdict(step, what="operations", model="model"),
            cycles_verdict(step),
            *_overflow(step),
        ],
        "command": step.command or _command(step),
        "floors": floor_bars(step),
        "stages": STAGE_TITLES,
        "layer_groups": {
            "by layer": _against_dense(step, str),
            "by block": _against_dense(step, block_of),
            "by kind of layer": _against_dense(step, kind_of),
        },
        "rows": _rows(step),
        "longest_layer": max([1, *(layer.cycles_predicted for layer in step.layers)]),
        "units": _units(step),
        "unit_titles": TITLES,
        "hidden": step.units.get("vector", 0) - totals[Cause.VECTOR] if causes else None,
        "causes": CAUSES,
        "totals": totals,
        "cause_groups": {
            "by stage": sorted(
                grouped(causes, Cause, lambda name: STAGE_TITLES[name.partition(OF)[0]]),
                key=lambda row: list(STAGE_TITLES.values()).index(row["name"]),
            ),
            "by block": grouped(causes, Cause, lambda name: block_of(name.partition(OF)[2])),
            "by kind of layer": grouped(causes, Cause, lambda name: kind_of(name.partition(OF)[2])),
        },
        "fills": {
            name: Fill(peak_words=peak, words=step.scratchpad_words.get(name, peak))
            for name, peak in step.scratchpads.items()
        },
        "losses": line_chart(step.loss),
        "seconds": {name: s for name, s in step.seconds.items() if s},
        "data": timeline_view(named) if step.timeline else None,
    }


def _overflow(step: StepRecord) -> list[Row]:
    """Return a verdict where steps were skipped."""
    skipped = [str(number) for number, over in enumerate(step.overflow, 1) if over]
    if not skipped:
        return []
    text = f"step {', '.join(skipped[:8])}: a gradient was not finite, the old weights stay"
    return [
        {"state": "none", "head": f"{len(skipped)} of {step.steps} steps skipped", "text": text}
    ]


def _command(step: StepRecord) -> str:
    words = ["moesaic", "step", step.model, "--accel", step.accel, "--method", step.method]
    words += ["--nm", step.nm] if step.nm else []
    words += ["--batch", str(step.batch), "--backend", step.backend, "--seed", str(step.seed)]
    words += ["--steps", str(step.steps)] if step.steps > 1 else []
    words += ["--stall", f"{step.stall:g}"] if step.stall else []
    return shlex.join(words)


def _rows(step: StepRecord) -> list[Row]:
    """Return each stage of each layer with its counterpart in the dense step."""
    dense = step.dense.layers if step.dense else []
    found = {(layer.name, layer.op): layer for layer in dense}
    return [
        {
            "layer": layer,
            "dense": found.get((layer.name, layer.op)),
            "dense_macs": layer.macs if layer.dense_macs is None else layer.dense_macs,
        }
        for layer in step.layers
    ]


def _against_dense(step: StepRecord, group_of: Callable[[str], str]) -> list[Row]:
    """Return groups of layers: cycles of each stage, sparse and dense, on one scale."""
    nodes: dict[str, dict[str, int]] = {}
    for layer in step.layers:
        nodes.setdefault(layer.name, {})[layer.op] = layer.cycles_predicted
    for other in step.dense.layers if step.dense else ():
        nodes.setdefault(other.name, {})[DENSE + other.op] = other.cycles_predicted
    groups = grouped(nodes, (*STAGES, *(DENSE + stage for stage in STAGES)), group_of)
    rows = []
    for group in groups:
        mine = {stage: group["parts"][stage] for stage in STAGES}
        dense = {stage: group["parts"][DENSE + stage] for stage in STAGES}
        cycles, before = sum(mine.values()), sum(dense.values())
        rows.append(
            {
                "name": group["name"],
                "parts": mine,
                "cycles": cycles,
                "dense_parts": dense if step.dense else None,
                "dense_cycles": before,
                "note": times(before / cycles) if cycles and before else "",
            }
        )
    longest = max([1, *(max(row["cycles"], row["dense_cycles"]) for row in rows)])
    return [row | {"longest": longest} for row in rows]


def _units(step: StepRecord) -> list[Row]:
    """Return the busy cycles of each unit, of the sparse step and of the dense one."""
    dense = step.dense
    longest = max(step.cycles, dense.cycles_predicted if dense else 0)
    rows = []
    for unit in UNITS:
        busy, before = step.units.get(unit, 0), dense.units.get(unit, 0) if dense else 0
        note = percent(busy / step.cycles)
        if dense:
            note += f", dense {percent(before / dense.cycles_predicted)}"
        rows.append(
            {
                "name": TITLES[unit],
                "parts": dict.fromkeys(UNITS, 0) | {unit: busy},
                "cycles": busy,
                "dense_parts": dict.fromkeys(UNITS, 0) | {unit: before} if dense else None,
                "dense_cycles": before,
                "note": note,
                "longest": longest,
            }
        )
    return rows
