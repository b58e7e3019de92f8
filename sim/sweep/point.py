"""A point of a space: from its parameters to an accelerator, mapping options and workloads."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.models.accel import FIELD_NAMES, NM, AccelSpec, MemorySpec
from moesaic.models.errors import InputError

MAPPING, MEMORY = "mapping.", "memory."
RUN_PARAMETERS = ("base", "model", "task", "batch")
PARAMETERS = (
    *RUN_PARAMETERS,
    *(name for name in FIELD_NAMES if name not in ("name", "memory", "board", "numbers")),
    *(MEMORY + f.name for f in fields(MemorySpec)),
    *(MAPPING + f.name for f in fields(MapOptions)),
)
"""All that a space may vary."""

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A model's task and a batch of its images."""

    model: str
    task: int = 0
    batch: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What all points share; small, because each goes to a worker with it.

    `bases` are accelerators by the name that the space gives them, `base` is the one of points
    that do not choose.
    """

    base: str
    bases: Mapping[str, AccelSpec]
    jobs: tuple[Job, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """A point, ready to be mapped."""

    spec: AccelSpec
    mapping: MapOptions = STANDARD
    jobs: tuple[Job, ...] = field(default_factory=tuple)


def point_key(parameters: Parameters) -> str:
    """Return the name by which a point is known: its parameters as canonical JSON."""
    return json.dumps(dict(parameters), sort_keys=True, separators=(",", ":"), allow_nan=False)


def design(problem: Problem, parameters: Parameters) -> Design:
    """Return what a point stands for; InputError where its parameters contradict each other."""
    spec = problem.bases[parameters.get("base", problem.base)]
    changes, memory, mapping, run = {}, {}, {}, {}
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
    if "sparsity" in changes:
        modes = changes["sparsity"]
        if not isinstance(modes, list):
            raise InputError(f"sparsity must be a list such as ['2:4'], not {modes!r:.60}")
        changes["sparsity"] = tuple(NM.parse(mode) for mode in modes)
    if memory:
        changes["memory"] = replace(spec.memory, **memory)
    return Design(
        spec=replace(spec, **changes),
        mapping=replace(STANDARD, **mapping),
        jobs=tuple(replace(job, **run) for job in problem.jobs),
    )
