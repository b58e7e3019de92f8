"""Who computes points: this process, processes of this machine, or a Dask cluster."""

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from moesaic.models.errors import InputError
from moesaic.sim.sweep.evaluate import Outcome, evaluate
from moesaic.sim.sweep.point import Problem, only_timed, point_key

if TYPE_CHECKING:
    from distributed import Client

Task = tuple[int, dict[str, Any]]  # number and parameters of a point
Workers = Callable[[Iterable[Task]], Iterator[tuple[int, Outcome]]]
"""Computes points, and gives their outcomes in the order in which they are ready."""

RETRIES = 3  # of a point whose worker died or failed
AHEAD = 3  # groups of points in flight for each thread, so that none waits
WINDOW = 4096  # points among which those of one mapping are brought together
GROUP = 8  # points that are lost together where a sweep is killed
CONNECT_SECONDS = 20


class WorkersError(RuntimeError):
    """Points could not be computed although nothing is wrong with them."""


@contextmanager
def open_workers(problem: Problem, jobs: int, scheduler: str | None) -> Iterator[Workers]:
    """Give workers: a Dask cluster's, `jobs` processes, or this process itself if that is 1."""
    if scheduler is None and jobs == 1:
        yield lambda tasks: (out for group in groups(tasks) for out in compute(problem, group))
        return
    with _client(jobs, scheduler) as client:
        yield lambda tasks: _stream(client, problem, tasks)


@contextmanager
def _client(jobs: int, scheduler: str | None) -> Iterator["Client"]:
    import dask.config
    from distributed import Client, LocalCluster

    dask.config.set({"distributed.scheduler.allowed-failures": RETRIES})
    dask.config.set({"distributed.comm.timeouts.connect": f"{CONNECT_SECONDS}s"})
    if scheduler is not None:
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS)
        except (OSError, ValueError, TypeError, ImportError) as error:
            raise InputError(
                f"--scheduler: must be the address of a Dask scheduler such as "
                f"tcp://HOST:8786, not {scheduler!r:.100}: {type(error).__name__}"
            ) from None
        with client:
            yield client
        return
    with _interrupts_ignored():  # workers inherit it: Ctrl-C is for this process alone
        cluster = LocalCluster(
            n_workers=jobs,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            silence_logs="CRITICAL",
        )
    with cluster, Client(cluster) as client:
        yield client


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    try:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    except ValueError:  # not in the main thread, which alone is interrupted
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _stream(
    client: "Client", problem: Problem, tasks: Iterable[Task]
) -> Iterator[tuple[int, Outcome]]:
    """Keep a window of points in flight."""
    from distributed import as_completed

    left = groups(tasks)

    def send(count: int) -> list[Any]:
        return [
            client.submit(compute, problem, group, pure=False, retries=RETRIES)
            for group in islice(left, count)
        ]

    client.wait_for_workers(1)
    ready = as_completed(send(max(2, AHEAD * sum(client.nthreads().values()))))
    for future in ready:
        try:
            outcomes: list[tuple[int, Outcome]] = future.result()
        except Exception as error:  # noqa: BLE001 (of many libraries)
            raise WorkersError(
                f"workers failed at a point, again after {RETRIES} retries; --resume goes on: "
                f"{type(error).__name__}: {error}"
            ) from None
        for new in send(1):
            ready.add(new)
        yield from outcomes


def compute(problem: Problem, group: Sequence[Task]) -> list[tuple[int, Outcome]]:
    """Return the outcomes of a group of points."""
    return [(number, evaluate(problem, point)) for number, point in group]


def groups(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    """Give points that share a mapping together, so that one worker makes it, and makes it once."""
    left = iter(tasks)
    while window := sorted(islice(left, WINDOW), key=_mapping):
        for _, same in groupby(window, key=_mapping):
            while group := list(islice(same, GROUP)):
                yield group


def _mapping(task: Task) -> str:
    """Return what a point's mapping depends on, as text."""
    return point_key({name: value for name, value in task[1].items() if not only_timed(name)})
