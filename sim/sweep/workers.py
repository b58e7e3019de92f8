"""Who computes points: this process, processes of this machine, or a Dask cluster."""

import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any

from moesaic.models.errors import InputError
from moesaic.sim.sweep.evaluate import Outcome, evaluate
from moesaic.sim.sweep.point import Problem

if TYPE_CHECKING:
    from distributed import Client

Task = tuple[int, dict[str, Any]]  # number and parameters of a point
Workers = Callable[[Iterable[Task]], Iterator[tuple[int, Outcome]]]
"""Computes points, and gives their outcomes in the order in which they are ready."""

RETRIES = 3  # of a point whose worker died or failed
AHEAD = 3  # points in flight for each thread, so that none waits
CONNECT_SECONDS = 20


class WorkersError(RuntimeError):
    """Points could not be computed although nothing is wrong with them."""


@contextmanager
def open_workers(problem: Problem, jobs: int, scheduler: str | None) -> Iterator[Workers]:
    """Give workers: a Dask cluster's, `jobs` processes, or this process itself if that is 1."""
    if scheduler is None and jobs == 1:
        yield lambda tasks: ((number, evaluate(problem, point)) for number, point in tasks)
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

    left = iter(tasks)
    numbers: dict[Any, int] = {}

    def send(count: int) -> list[Any]:
        futures = []
        for number, point in islice(left, count):
            future = client.submit(evaluate, problem, point, pure=False, retries=RETRIES)
            numbers[future] = number
            futures.append(future)
        return futures

    client.wait_for_workers(1)
    ready = as_completed(send(max(2, AHEAD * sum(client.nthreads().values()))))
    for future in ready:
        try:
            outcome: Outcome = future.result()
        except Exception as error:  # noqa: BLE001 (of many libraries)
            raise WorkersError(
                f"workers failed at a point, again after {RETRIES} retries; --resume goes on: "
                f"{type(error).__name__}: {error}"
            ) from None
        number = numbers.pop(future)
        for new in send(1):
            ready.add(new)
        yield number, outcome
