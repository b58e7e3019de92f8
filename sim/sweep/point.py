"""A point of a space: from its parameters to an accelerator, mapping options and workloads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from math import ceil
from typing import Any

from moesaic.dataflow.evaluate import MAPPED
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.models.accel import FIELD_NAMES, NM, AccelSpec, MemorySpec
from moesaic.models.commands import Buffer
from moesaic.models.energy import EnergyTable, load_energy
from moesaic.models.errors import InputError
from moesaic.models.geometry import geometry
from moesaic.models.numbers import INTEGER

MAPPING, MEMORY = "mapping.", "memory."
RUN_PARAMETERS = ("base", "model", "task", "batch", "nm")
DENSE = "dense"
SCRATCHPADS = "scratchpads"
SCALED = (Buffer.INPUT, Buffer.ACT, Buffer.VEC, Buffer.KV, Buffer.SCORE, Buffer.RESIDUAL)
"""What `scratchpads` sizes: those that hold tokens."""
PARAMETERS = (
    *RUN_PARAMETERS,
    SCRATCHPADS,
    *(name for name in FIELD_NAMES if name not in ("name", "memory", "board", "numbers")),
    *(MEMORY + f.name for f in fields(MemorySpec)),
    *(MAPPING + f.name for f in fields(MapOptions) if f.name != "layers"),
)
"""All that a space may vary."""

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Job:
    """A model's task and a batch of its images.

    On a machine for training: a network whose layers are trained, a batch, and ``dense`` or N:M.
    """

    model: str
    task: int = 0
    batch: int = 1
    nm: str = DENSE


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What all points share; small, because each goes to a worker with it.

    `bases` are accelerators by the name that the space gives them, `base` is the one of points
    that do not choose. `accuracy_images` says on how many images accuracy is measured, 0 where
    nobody asks.
    """

    base: str
    bases: Mapping[str, AccelSpec]
    jobs: tuple[Job, ...]
    energy: EnergyTable = field(default_factory=load_energy)
    accuracy_images: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A point, ready to be mapped."""

    spec: AccelSpec
    mapping: MapOptions = STANDARD
    jobs: tuple[Job, ...] = field(default_factory=tuple)
    energy: EnergyTable = field(default_factory=load_energy)


def point_key(parameters: Parameters) -> str:
    """Return the name by which a point is known: its parameters as canonical JSON."""
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), allow_nan=False)


def only_timed(name: str) -> bool:
    """Whether a parameter changes when things happen, and no mapping."""
    return name.startswith(MEMORY) or (name in FIELD_NAMES and name not in MAPPED)


def design(problem: Problem, parameters: Parameters) -> Design:
    """Return what a point stands for; InputError where its parameters contradict each other."""
    base = problem.bases[parameters.get("base", problem.base)]
    changes: dict[str, Any] = {}
    memory: dict[str, Any] = {}
    mapping: dict[str, Any] = {}
    run: dict[str, Any] = {}
    for name, value in parameters.items():
        if name.startswith(MAPPING):
            mapping[name.removeprefix(MAPPING)] = value
        elif name.startswith(MEMORY):
            memory[name.removeprefix(MEMORY)] = value
        elif name in RUN_PARAMETERS:
            run[name] = value
        else:
            changes[name] = value
    run.pop("base", None)
    scale = changes.pop(SCRATCHPADS, None)
    if "sparsity" in changes:
        modes = changes["sparsity"]
        if not isinstance(modes, list):
            raise InputError(f"sparsity must be a list such as ['2:4'], not {modes!r:.60}")
        changes["sparsity"] = tuple(NM.parse(mode) for mode in modes)
    if base.numbers != INTEGER and "columns" in changes:
        changes.setdefault("lanes", changes["columns"])  # there is no choice
    if memory:
        changes["memory"] = replace(base.memory, **memory)
    spec = replace(base, **changes)
    if scale is not None:
        sizes: dict[str, Any] = dict(_sizes(base, spec, scale))
        spec = replace(spec, **{n: words for n, words in sizes.items() if n not in changes})
    return Design(
        spec=spec,
        mapping=replace(STANDARD, **mapping),
        jobs=tuple(replace(job, **run) for job in problem.jobs),
        energy=problem.energy,
    )


def _sizes(base: AccelSpec, spec: AccelSpec, scale: float) -> dict[str, int]:
    """Return words that hold `scale` times the bits of the base, up to the next power of two."""
    out = {}
    for buffer in SCALED:
        bits = geometry(base, buffer).bits * scale
        words = max(1, ceil(bits / geometry(spec, buffer).width))
        out[f"{buffer.name.lower()}_words"] = 1 << (words - 1).bit_length()
    return out
