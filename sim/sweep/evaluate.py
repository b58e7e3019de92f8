"""The figures of a point: a pure function that any process can call."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from time import process_time
from typing import Any

from moesaic.dataflow.account import Floor, floor
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.queues import queue_lengths, routes
from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Ints, Route
from moesaic.models.input_matrix import input_matrices
from moesaic.models.quantise import quantise
from moesaic.models.zoo import Model, load_model
from moesaic.sim.sweep.point import Design, Job, Parameters, Problem, design
from moesaic.sim.sweep.resources import fits, resources

INTERNAL = "internal error: "
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a point: figures, or in one line why there are none; its CPU seconds."""

    figures: Figures | None
    problem: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """One workload on one accelerator."""

    cycles: int
    floor: Floor
    bytes_read: int
    bytes_written: int


def evaluate(problem: Problem, parameters: Parameters) -> Outcome:
    """Return the outcome of a point.

    It depends on its arguments alone, but for the seconds. What a process has quantised and routed
    for one point it keeps for the next.
    """
    began = process_time()
    figures: Figures | None = None
    trouble = ""
    try:
        figures = _figures(design(problem, parameters))
    except InputError as error:
        trouble = str(error)
    except Exception as error:  # noqa: BLE001 (one point must not end a sweep of thousands)
        trouble = f"{INTERNAL}{type(error).__name__}: {error}"
    return Outcome(figures=figures, problem=trouble, seconds=process_time() - began)


def _figures(point: Design) -> Figures:
    spec = point.spec
    runs = [_predict(job, spec, point.mapping) for job in point.jobs]
    cycles = sum(run.cycles for run in runs)
    read, written = (sum(run.bytes_read for run in runs), sum(run.bytes_written for run in runs))
    latency = cycles / spec.clock_hz
    return {
        "cycles": cycles,
        "cycles_floor": sum(run.floor.max for run in runs),
        "floor_compute": sum(run.floor.compute for run in runs),
        "floor_bandwidth": sum(run.floor.bandwidth for run in runs),
        "latency": latency,
        "throughput": sum(job.batch for job in point.jobs) / latency,
        "bytes": read + written,
        "bytes_read": read,
        "bytes_written": written,
        **resources(spec),
        "fits": fits(spec),
        "cycles_by_workload": [run.cycles for run in runs],
    }


def _predict(job: Job, spec: AccelSpec, mapping: MapOptions) -> Prediction:
    """Map and time one workload: the one place that knows how cycles are found."""
    graph = quantised(job.model, job.task, spec.data_bits, spec.gelu)
    program = map_graph(graph, spec, batch=job.batch, options=mapping)
    tables: Sequence[Mapping[str, Ints]] = ()
    if routes(program):
        tables = routed(job, spec.data_bits, spec.gelu, spec.lanes)
    timing = predict(program, queue_lengths(program, tables))
    return Prediction(
        cycles=timing.cycles,
        floor=floor(program, timing),
        bytes_read=timing.bytes_read,
        bytes_written=timing.bytes_written,
    )


@lru_cache(maxsize=4)
def _model(name: str, task: int) -> Model:
    return load_model(name, task)


@lru_cache(maxsize=8)
def quantised(name: str, task: int, data_bits: int, gelu: str) -> Graph:
    """Return a model's integer network, made once in a process."""
    model = _model(name, task)
    return quantise(model.network, model.calibration, data_bits=data_bits, gelu=gelu)


@lru_cache(maxsize=64)
def routed(job: Job, data_bits: int, gelu: str, lanes: int) -> tuple[dict[str, Ints], ...]:
    """Return who goes to which expert, for each image of a batch: the images of seed 0."""
    graph = quantised(job.model, job.task, data_bits, gelu)
    model = _model(job.model, job.task)
    images, _ = model.images(job.batch, 0)
    names = [node.name for node in graph.nodes if isinstance(node, Route)]
    out = []
    for x in input_matrices(graph, model.network, images):
        tensors = execute(graph, x, lanes=lanes)
        out.append({name: tensors[name] for name in names})
    return tuple(out)
