"""The figures of a point: a pure function that any process can call."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from threading import Lock
from time import process_time
from typing import Any

from moesaic.dataflow.evaluate import Evaluation, Evaluator, Workload
from moesaic.dataflow.options import MapOptions
from moesaic.models.accel import AccelSpec
from moesaic.models.energy import energy
from moesaic.models.errors import InputError
from moesaic.models.input_matrix import input_matrices
from moesaic.models.numbers import INTEGER
from moesaic.models.quantise import quantise
from moesaic.models.zoo import load_model
from moesaic.sim.sweep.accuracy import accuracy
from moesaic.sim.sweep.point import Design, Job, Parameters, Problem, design
from moesaic.sim.sweep.resources import fits, resources
from moesaic.sim.sweep.train import Trained, predict_training

INTERNAL = "internal error: "
_ALONE = Lock()  # a cluster's worker may have several threads
Figures = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a point: figures, or in one line why there are none; its CPU seconds."""

    figures: Figures | None
    problem: str = ""
    seconds: float = 0.0


def evaluate(problem: Problem, parameters: Parameters) -> Outcome:
    """Return the outcome of a point.

    It depends on its arguments alone, but for the seconds. What a process has quantised, routed and
    mapped for one point it keeps for the next.
    """
    began = process_time()
    figures: Figures | None = None
    trouble = ""
    try:
        figures = _figures(design(problem, parameters), problem.accuracy_images)
    except InputError as error:
        trouble = str(error)
    except Exception as error:  # noqa: BLE001 (one point must not end a sweep of thousands)
        trouble = f"{INTERNAL}{type(error).__name__}: {error}"
    return Outcome(figures=figures, problem=trouble, seconds=process_time() - began)


def _figures(point: Design, accuracy_images: int) -> Figures:
    spec = point.spec
    runs = [_predict(job, spec, point.mapping) for job in point.jobs]
    cycles = sum(run.cycles for run in runs)
    read, written = (sum(run.bytes_read for run in runs), sum(run.bytes_written for run in runs))
    latency = cycles / spec.clock_hz
    used = resources(spec)
    found = {
        "cycles": cycles,
        "cycles_floor": sum(run.floor.max for run in runs),
        "floor_compute": sum(run.floor.compute for run in runs),
        "floor_bandwidth": sum(run.floor.bandwidth for run in runs),
        "latency": latency,
        "throughput": sum(job.batch for job in point.jobs) / latency,
        "bytes": read + written,
        "bytes_read": read,
        "bytes_written": written,
        **used,
        **_energy(point, runs),
        "fits": fits(spec, used),
        "cycles_by_workload": [run.cycles for run in runs],
    }
    if accuracy_images:  # of the worst workload
        found["accuracy"] = min(accuracy(job, spec, accuracy_images) for job in point.jobs)
    return found


def _energy(point: Design, runs: Sequence[Evaluation | Trained]) -> Figures:
    """Return the energy; none for machines whose numbers the tables do not have."""
    if point.spec.numbers != INTEGER:
        return {}
    joules = energy(
        point.spec,
        point.energy,
        macs=sum(run.macs for run in runs),
        bytes_read=sum(run.bytes_read for run in runs),
        bytes_written=sum(run.bytes_written for run in runs),
    )
    return {"energy": joules}


def layer_cycles(problem: Problem, parameters: Parameters) -> list[dict[str, int]]:
    """Return the cycles of a point that can be mapped by layer, for each workload."""
    point = design(problem, parameters)
    out: list[dict[str, int]] = []
    for job in point.jobs:
        found = _predict(job, point.spec, point.mapping, layers=True).layers or {}
        out.append({name: layer.cycles for name, layer in found.items()})
    return out


def _predict(
    job: Job, spec: AccelSpec, mapping: MapOptions, *, layers: bool = False
) -> Evaluation | Trained:
    """Map and time one workload: the one place that knows how cycles are found."""
    if spec.numbers != INTEGER:
        return predict_training(job, spec)
    name = f"task {job.task}, batch {job.batch}"
    with _ALONE:
        evaluator = _evaluator((job.model, spec.data_bits, spec.gelu))
        if name not in evaluator:
            evaluator.add(_workload(name, job, spec.data_bits, spec.gelu))
        return evaluator.evaluate(spec, mapping, job.batch, name=name, layers=layers)


@lru_cache(maxsize=3)
def _evaluator(_format: tuple[str, int, str]) -> Evaluator:
    """Return what evaluates a model in a format: it keeps its tasks and last mappings."""
    return Evaluator()


def _workload(name: str, job: Job, data_bits: int, gelu: str) -> Workload:
    """Return a model's integer network, and the images of seed 0."""
    model = load_model(job.model, job.task)
    graph = quantise(model.network, model.calibration, data_bits=data_bits, gelu=gelu)
    images, _ = model.images(job.batch, 0)
    inputs = list(input_matrices(graph, model.network, images))
    return Workload(name=name, graph=graph, inputs=inputs)
