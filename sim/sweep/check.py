"""Contradictions that show before anything is mapped: unknown models, values that never work."""

from collections.abc import Iterator
from contextlib import contextmanager

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.training.layer_shapes import network_layers
from moesaic.models.zoo import load_model
from moesaic.sim.sweep.accuracy import check_accuracy
from moesaic.sim.sweep.point import DENSE, Job, design
from moesaic.sim.sweep.space import Space

CHECKED = 20_000  # points of a grid whose accelerators are all built


def check_space(space: Space) -> None:
    """Raise InputError for what no point of the space can overcome."""
    for job in sorted(_jobs(space)):
        with _naming(f"{space.file}: workloads: {job.model}"):
            if space.trains:
                network_layers(job.model)
                _check_ratio(job.nm)
                continue
            if job.nm != DENSE:
                raise InputError(f"nm must be {DENSE} on machines for integers, not {job.nm!r:.20}")
            model = load_model(job.model, job.task)
            if not 1 <= job.batch <= model.available:
                raise InputError(f"batch must be in 1..{model.available}, not {job.batch}")
            if space.problem.accuracy_images:
                check_accuracy(job, space.problem.accuracy_images)
    if space.size <= CHECKED:
        with _naming(str(space.file)):
            _check_values(space)


def _jobs(space: Space) -> set[Job]:
    """Return each workload of some point once; one that a point cannot have is its own mistake."""
    values = space.values
    return {
        Job(model=str(model), task=task, batch=batch, nm=nm)
        for job in space.problem.jobs
        for model in values.get("model", (job.model,))
        for task in values.get("task", (job.task,))
        for batch in values.get("batch", (job.batch,))
        for nm in values.get("nm", (job.nm,))
    }


def _check_ratio(text: str) -> None:
    """Refuse what is neither dense nor N:M."""
    if text != DENSE:
        NM.parse(text)


def _check_values(space: Space) -> None:
    """Refuse values without any point whose accelerator can be built."""
    problems: dict[tuple[str, int], str] = {}
    good: set[tuple[str, int]] = set()
    places = {
        name: {id(value): place for place, value in enumerate(values)}
        for name, values in space.values.items()
    }
    for point in space.grid():
        marks = [(name, places[name][id(value)]) for name, value in point.items()]
        if good.issuperset(marks):
            continue
        try:
            design(space.problem, point)
        except InputError as error:
            for mark in marks:
                problems.setdefault(mark, str(error))
        else:
            good.update(marks)
    if not good and problems:
        raise InputError(f"parameters: no point is feasible: {next(iter(problems.values()))}")
    for (name, place), problem in problems.items():
        if (name, place) not in good:
            value = space.values[name][place]
            raise InputError(
                f"parameters.{name}: no point with {value!r:.60} is feasible: {problem}"
            )


@contextmanager
def _naming(where: str) -> Iterator[None]:
    """Say in front of a mistake where it is."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
