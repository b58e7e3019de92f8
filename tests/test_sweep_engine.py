"""Who computes does not matter: this process, a cluster, a cluster that loses a worker."""

import os
import signal
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

from moesaic.models.errors import InputError
from moesaic.sim.sweep.evaluate import evaluate
from moesaic.sim.sweep.figures import Verdict, best, front
from moesaic.sim.sweep.run import new_sweep, sweep
from moesaic.sim.sweep.search import search
from moesaic.sim.sweep.space import Space, load_space
from moesaic.sim.sweep.workers import compute, groups, open_workers
from tests.sweep_cases import LARGE_PARAMETERS, SMALL, save_small, write_space


@pytest.fixture
def space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Space:
    """Return a space of 60 points at random."""
    monkeypatch.chdir(tmp_path)
    save_small(tmp_path / "small")
    parameters = SMALL["parameters"] | LARGE_PARAMETERS
    workloads = [{"model": str(tmp_path / "small")}]
    return load_space(
        write_space(
            Path("space.yaml"),
            workloads=workloads,
            parameters=parameters,
            sampler="random",
            points=60,
        )
    )


def made(space: Space, name: str) -> Path:
    folder = Path(name)
    folder.mkdir()
    new_sweep(folder, space)
    return folder


def test_two_dask_workers_of_which_one_dies(space: Space) -> None:
    from distributed import Client, LocalCluster

    here = sweep(space, made(space, "here"))
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs="CRITICAL"
        ) as cluster,
        Client(cluster) as client,
    ):
        workers = iter(client.run(os.getpid).values())

        def kill(_done: int, _total: int, computed: int) -> None:
            if computed == 10:
                os.kill(next(workers), signal.SIGKILL)

        there = sweep(
            space, made(space, "there"), scheduler=cluster.scheduler_address, progress=kill
        )
    assert there.store.content() == here.store.content()
    assert there.front == here.front
    assert there.computed == 60


def test_an_address_without_a_scheduler(space: Space, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("moesaic.sim.sweep.workers.CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(InputError, match="--scheduler: must be the address"):
            with open_workers(space.problem, 1, address):
                pass


@pytest.mark.parametrize("sampler", ["nsga2", "tpe"])
def test_a_search_depends_on_what_it_is_told_alone(space: Space, sampler: str) -> None:
    write_space(
        space.file,
        workloads=[{"model": "small"}],
        parameters=SMALL["parameters"] | LARGE_PARAMETERS,
        sampler=sampler,
        points=60,
        generation=16,
    )
    chosen = load_space(space.file)

    def asked() -> Iterator[str]:
        asking = search(chosen)
        batch = list(asking.send(None))  # type: ignore[arg-type]
        try:
            while True:
                yield from map(str, batch)
                batch = list(
                    asking.send(
                        [
                            Verdict(
                                values=(float(p["rows"]), -float(p["lanes"])),
                                violation=float(p["bus_bytes"] == 8),
                                violated=(),
                            )
                            for p in batch
                        ]
                    )
                )
        except StopIteration:
            return

    first, again = list(asked()), list(asked())
    assert first == again
    assert len(set(first)) == 60


def test_points_of_one_mapping_go_together(space: Space) -> None:
    """Queues, bursts and memory make no mapping; no group is long, and no point is left out."""
    write_space(
        space.file,
        workloads=[{"model": "small"}],
        parameters=LARGE_PARAMETERS | {"rows": [16, 8], "memory.bytes_per_cycle": [4, 8.5]},
    )
    tasks = list(enumerate(load_space(space.file).grid()))
    found = list(groups(iter(tasks)))
    assert all(len({point["rows"] for _, point in group}) == 1 for group in found)
    assert [len(group) for group in found] == [8] * (len(tasks) // 8)
    assert sorted(number for group in found for number, _ in group) == list(range(len(tasks)))


def test_a_group_keeps_its_numbers(space: Space) -> None:
    tasks = list(enumerate(islice(space.grid(), 3)))
    for (number, outcome), (wanted, point) in zip(
        compute(space.problem, tasks), tasks, strict=True
    ):
        alone = evaluate(space.problem, point)
        assert number == wanted
        assert (outcome.figures, outcome.problem) == (alone.figures, alone.problem)


def test_front() -> None:
    values = [(1, 5), (2, 2), (2, 2), (3, 3), (5, 1), (1, 6), (0, 0)]
    verdicts = {
        i: Verdict(values=v, violation=float(i == 6), violated=()) for i, v in enumerate(values)
    }
    assert front(verdicts) == [0, 1, 2, 4]
    assert best(verdicts, 5) == [0, 1, 2, 4, 5]
