"""A sweep from space to confirmed front. Read :func:`sweep` first: it is the list of stages."""

import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError
from moesaic.sim.sweep.breakdown import Breakdown, breakdowns
from moesaic.sim.sweep.check import check_space
from moesaic.sim.sweep.figures import Verdict, front, judge
from moesaic.sim.sweep.point import Parameters, point_key
from moesaic.sim.sweep.search import search
from moesaic.sim.sweep.space import Space
from moesaic.sim.sweep.store import Store, create_store, open_store
from moesaic.sim.sweep.verify import Verifying, verify
from moesaic.sim.sweep.workers import Task, Workers, open_workers

Progress = Callable[[int, int, int], None]
"""Called after each point: those done, those wanted, and those of them computed by this call."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SweepResult:
    """A finished sweep. `points` are parameters and verdicts by number, `front` numbers."""

    space: Space
    store: Store
    parameters: dict[str, Parameters]
    verdicts: dict[int, Verdict]
    front: list[int]
    verification: list[dict[str, Any]]
    breakdowns: list[Breakdown]
    computed: int


def _silent(*_: object) -> None:
    """Tell nobody."""


def sweep(
    space: Space,
    folder: Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    count: int = 0,
    progress: Progress = _silent,
    verifying: Verifying = _silent,
) -> SweepResult:
    """Search a space, keep every point, and confirm the best on RTL.

    Parameters
    ----------
    space : Space
    folder : Path
        Where the store lies, from :func:`moesaic.sim.sweep.store.create_store`; points that it
        holds are not computed again.
    jobs, scheduler
        Processes of this machine, or the address of a Dask cluster.
    count : int
        How many of the best points to run on RTL, and how many at random.
    progress, verifying : callable, optional

    Raises
    ------
    InputError
        If no point is feasible: the directory is gone then.
    """
    with open_store(folder, space.source) as store:
        with open_workers(space.problem, jobs, scheduler) as workers:
            parameters, computed = _explore(space, store, workers, progress)
        verdicts = {one.number: judge(space, one.outcome) for one in store.points.values()}
        best = front(verdicts)
        if not best:
            reason = _reason(space, store)
            shutil.rmtree(folder)
            raise InputError(f"{space.file}: {reason}")
        verification = verify(space, store, count, parameters, verifying) if count else []
        shown = breakdowns(space, store, parameters, best)
    return SweepResult(
        space=space,
        store=store,
        parameters=parameters,
        verdicts=verdicts,
        front=best,
        verification=verification,
        breakdowns=shown,
        computed=computed,
    )


def _explore(
    space: Space, store: Store, workers: Workers, progress: Progress
) -> tuple[dict[str, Parameters], int]:
    """Ask, compute what is not known, tell; until the search has enough."""
    asking = search(space)
    asked = _next(asking.send, None)
    parameters: dict[str, Parameters] = {}
    computed = 0
    progress(len(store.points), space.points, 0)
    names: dict[int, str] = {}
    while asked is not None:
        batch: list[str] = []
        for number, outcome in workers(_unknown(asked, batch, parameters, names, store)):
            store.add(number, names[number], outcome)
            computed += 1
            progress(len(store.points), space.points, computed)
        asked = _next(asking.send, [judge(space, store.points[key].outcome) for key in batch])
    return parameters, computed


def _unknown(
    points: Iterable[dict[str, Any]],
    batch: list[str],
    parameters: dict[str, Parameters],
    names: dict[int, str],
    store: Store,
) -> Iterator[Task]:
    """Give the points that must be computed; write down the keys of all, and number new ones."""
    for point in points:
        key = point_key(point)
        batch.append(key)
        if key in parameters:
            continue
        number = len(parameters)
        parameters[key], names[number] = point, key
        if key not in store.points:
            yield number, point


def _next(send: Callable[[Any], Any], verdicts: Sequence[Verdict] | None) -> Any:
    try:
        return send(verdicts)
    except StopIteration:
        return None


def _reason(space: Space, store: Store) -> str:
    """Say why no point is feasible: the most frequent problem, or the bound nearest to holding."""
    outcomes = [one.outcome for one in store.points.values()]
    problems = [outcome.problem for outcome in outcomes if outcome.problem]
    head = f"none of {len(outcomes)} points is feasible"
    if len(problems) == len(outcomes):
        common = max(sorted(set(problems)), key=problems.count)
        return f"parameters: {head}: {common}"
    nearest = min(
        (judge(space, outcome) for outcome in outcomes if outcome.figures),
        key=lambda verdict: verdict.violation,
    )
    name = nearest.violated[0]
    if name not in space.bounds:
        return f"constraints.{name}: {head}: no point that can be mapped is on its board"
    values = [outcome.figures[name] for outcome in outcomes if outcome.figures]
    low, high = space.bounds[name]
    bound = f"min {low}" if high is None or max(values) < (low or 0) else f"max {high}"
    return f"constraints.{name}: {head} with {bound}: its values are {min(values)} to {max(values)}"


def new_sweep(folder: Path, space: Space) -> None:
    """Check a space for contradictions and make its store in a directory that is there."""
    check_space(space)
    create_store(folder, space.source)
