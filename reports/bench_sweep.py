"""How many design points a second one and two workers compute: the engine of `moesaic sweep`."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from moesaic.sim.sweep.run import sweep
from moesaic.sim.sweep.space import Space, load_space
from moesaic.sim.sweep.store import create_store

SPACE = "zcu102-m3vit"
MEASURED = {"lanes": (64,)}  # the part of the grid that is measured
WARM_UP = MEASURED | {"bus_bytes": (64,)}
WORKERS = (1, 2)


def bench_sweep(tell: Callable[[str], None] = print) -> dict[str, float]:
    """Return points a second by workers, after a warm-up, and how well two share the work.

    Workers are processes of Dask on this machine, which stay for both sweeps, as those of a cluster
    do: the first sweep makes them quantise and route.
    """
    from distributed import LocalCluster

    space = load_space(SPACE)
    rates: dict[str, float] = {}
    for count in WORKERS:
        with LocalCluster(
            n_workers=count,
            threads_per_worker=1,
            memory_limit=0,
            dashboard_address=None,
            silence_logs="CRITICAL",
        ) as cluster:
            _rate(space, WARM_UP, cluster.scheduler_address)
            rate = _rate(space, MEASURED, cluster.scheduler_address)
        rates[f"points_per_second_{count}"] = rate
    rates["efficiency"] = rates["points_per_second_2"] / (2 * rates["points_per_second_1"])
    tell(
        f"sweep {SPACE}: {rates['points_per_second_1']:.1f} points/s by one worker, "
        f"{rates['points_per_second_2']:.1f} by two, "
        f"{rates['efficiency']:.2f} of twice one"
    )
    return rates


def _rate(space: Space, part: Mapping[str, tuple[Any, ...]], scheduler: str) -> float:
    """Sweep a part of the grid into a new store; return points a second."""
    some = replace(space, values={**space.values, **part})
    some = replace(some, points=some.size)
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        create_store(Path(folder), some.source)
        start = time.perf_counter()
        sweep(some, Path(folder), scheduler=scheduler)
        return some.points / (time.perf_counter() - start)
