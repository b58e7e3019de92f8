"""A mapping for a model on an accelerator: searched, or found where an earlier search left it."""

import hashlib
import json
import tempfile
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

import moesaic.dataflow.mapper as dataflow_mapper
from moesaic.dataflow.choices import Freedoms
from moesaic.dataflow.evaluate import Evaluator, Workload
from moesaic.dataflow.mapper import freedoms
from moesaic.dataflow.mapping_file import dump_mapping, read_mapping, short_mapping
from moesaic.dataflow.mapping_search import Found, Progress, search_mapping
from moesaic.dataflow.mapping_space import SEARCHED, chains
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.dataflow.outline import outline
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_integer_accel
from moesaic.models.errors import InputError
from moesaic.models.graph import Route
from moesaic.models.input_matrix import input_matrices
from moesaic.models.quantise import quantise
from moesaic.models.zoo import load_model
from moesaic.sim.build import cache_directory

BUDGET = 400
KEPT = ("cycles", "start_cycles", "tried", "every")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingRequest:
    """What a mapping is searched for.

    Parameters
    ----------
    model, accel : str
        A model's name or directory; a preset or a YAML file.
    task, batch : int
        As those of a run.
    budget : int
        Mappings that may be evaluated.
    seed : int
        Of the search's changes at random; images are those of seed 0.
    knobs : tuple of str
        What may be chosen, all of it by default.
    start : MapOptions
        Where the search begins.
    """

    model: str
    accel: str
    task: int = 0
    batch: int = 1
    budget: int = BUDGET
    seed: int = 0
    knobs: tuple[str, ...] = SEARCHED
    start: MapOptions = STANDARD

    def __post_init__(self) -> None:
        if unknown := [knob for knob in self.knobs if knob not in SEARCHED]:
            raise InputError(f"--knobs must be of {', '.join(SEARCHED)}, not {unknown[0]!r:.40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class MappingResult:
    """What a search found; `known` if it was found before. `text` is its YAML."""

    found: Found
    known: bool
    text: str


def find_mapping(request: MappingRequest, progress: Progress | None = None) -> MappingResult:
    """Search the mapping of a model on an accelerator, or return what the same search found before.

    Raises InputError for what the user can mend.
    """
    spec = load_integer_accel(request.accel)
    workload = _workload(request, spec)
    evaluator = Evaluator([workload], plans=2)

    def cycles(options: MapOptions) -> int:
        return evaluator.evaluate(spec, options, request.batch).cycles

    def choices(options: MapOptions) -> Freedoms:
        return freedoms(workload.graph, spec, batch=request.batch, options=options)

    try:
        there = choices(request.start)
        kept = cache_directory() / "mappings" / _key(request, spec, workload)
        found = _load(kept)
        known = found is not None
        if found is None:
            found = search_mapping(
                cycles,
                there,
                start=request.start,
                images=[n for n in range(1, request.batch + 1) if request.batch % n == 0][:-1],
                links=chains(workload.graph),
                knobs=request.knobs,
                budget=request.budget,
                seed=request.seed,
                progress=progress,
            )
            _save(kept, found)
    except InputError as error:
        raise InputError(f"{request.accel}: {request.model}: {error}") from None
    about = {
        "model": request.model,
        "accel": request.accel,
        "task": request.task,
        "batch": request.batch,
        "cycles": found.cycles,
    }
    text = short_mapping(found.options, choices(found.options), about)
    return MappingResult(found=found, known=known, text=text)


def _workload(request: MappingRequest, spec: AccelSpec) -> Workload:
    model = load_model(request.model, request.task)
    images, _ = model.images(request.batch, 0)
    try:
        graph = quantise(model.network, model.calibration, data_bits=spec.data_bits, gelu=spec.gelu)
        inputs = list(input_matrices(graph, model.network, images))
    except InputError as error:
        raise InputError(f"{request.model}: {error}") from None
    return Workload(graph=graph, inputs=inputs)


def _key(request: MappingRequest, spec: AccelSpec, workload: Workload) -> str:
    """Return what the result depends on, the mapper's own sources among it, as a name."""
    digest = hashlib.sha256()
    plain = replace(request, model="", accel="", task=0)
    digest.update(repr((plain, spec, outline(workload.graph))).encode())
    for path in sorted(Path(dataflow_mapper.__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    nodes = workload.graph.nodes
    if any(isinstance(node, Route) for node in nodes):  # values decide who goes where
        for node in nodes:
            for field in fields(node):
                value = getattr(node, field.name)
                array = isinstance(value, np.ndarray)
                digest.update(value.tobytes() if array else repr(value).encode())
        for x in workload.inputs:
            digest.update(x.tobytes())
    return digest.hexdigest()[:24]


def _load(path: Path) -> Found | None:
    """Return what a search left; None if there was none, or its files are not whole."""
    try:
        numbers: dict[str, Any] = json.loads(path.with_suffix(".json").read_text())
        return Found(options=read_mapping(path.with_suffix(".yaml")), **numbers)
    except (OSError, ValueError, TypeError):
        return None


def _save(path: Path, found: Found) -> None:
    """Keep what a search found, the numbers last: without them there is nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = json.dumps({name: getattr(found, name) for name in KEPT})
    for suffix, text in ((".yaml", dump_mapping(found.options)), (".json", numbers)):
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False) as file:
            file.write(text)
        Path(file.name).replace(path.with_suffix(suffix))
