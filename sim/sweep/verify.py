"""The best points, and some at random, on RTL: every bit and every cycle."""

import random
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moesaic.models.accel_io import dump_accel
from moesaic.models.numbers import INTEGER
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions
from moesaic.sim.sweep.figures import best, judge
from moesaic.sim.sweep.point import Parameters, Problem, design
from moesaic.sim.sweep.space import Space
from moesaic.sim.sweep.store import Store, Stored
from moesaic.sim.sweep.train import train_on_rtl

Verifying = Callable[[int, int, str], None]
"""Called before each point: points done, points in all, what it is."""
LENGTH = 300  # of a failure's line


def choose(space: Space, store: Store, count: int) -> list[tuple[str, Stored]]:
    """Return why and which points go to RTL: the best by the first objective, and random ones."""
    by_number = {one.number: one for one in store.points.values()}
    verdicts = {number: judge(space, one.outcome) for number, one in by_number.items()}
    chosen = best(verdicts, count)
    rest = sorted(n for n, v in verdicts.items() if v.feasible and n not in set(chosen))
    others = random.Random(space.seed).sample(rest, min(count, len(rest)))  # noqa: S311
    return [("best", by_number[n]) for n in chosen] + [("random", by_number[n]) for n in others]


def verify(
    space: Space, store: Store, count: int, parameters: dict[str, Parameters], tell: Verifying
) -> list[dict[str, Any]]:
    """Run points on RTL that have not been yet, and return all records.

    Parameters
    ----------
    space, store
    count : int
        How many of the best, and how many at random.
    parameters : dict
        Of each point, by its key.
    tell : callable

    Returns
    -------
    list of dict
        ``number``, ``chosen`` (best or random), and what :func:`confirm` returns.
    """
    chosen = choose(space, store, count)
    out = []
    for done, (why, one) in enumerate(chosen):
        tell(done, len(chosen), f"point {one.number}, {why}")
        if one.key not in store.verified:
            assert one.outcome.figures is not None
            cycles = one.outcome.figures["cycles_by_workload"]
            store.confirm(one.key, confirm(space.problem, parameters[one.key], cycles))
        out.append({"number": one.number, "chosen": why, **store.verified[one.key]})
    tell(len(chosen), len(chosen), "")
    return out


def confirm(problem: Problem, parameters: Parameters, cycles: list[int]) -> dict[str, Any]:
    """Run all workloads of a point on RTL.

    Returns
    -------
    dict
        ``cycles`` as the sweep has them, ``cycles_predicted`` and ``cycles_rtl`` of the run, all by
        workload; ``exact``; ``failures``, one line each; ``seconds`` of all stages.
    """
    point = design(problem, parameters)
    predicted: list[int] = []
    seen: list[int | None] = []
    failures: list[str] = []
    seconds = 0.0
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        accel = Path(folder, "accel.yaml")
        accel.write_text(dump_accel(point.spec), encoding="utf-8")
        for job, swept in zip(point.jobs, cycles, strict=True):
            if point.spec.numbers != INTEGER:
                step = train_on_rtl(job, point.spec)
                predicted.append(step.cycles_predicted)
                seen.append(step.cycles_rtl)
                seconds += step.seconds
                failures += [f"{job.model}: {line}"[:LENGTH] for line in step.failures]
                if step.cycles_rtl != swept:
                    failures.append(f"{job.model}: {step.cycles_rtl} cycles on RTL, not {swept}")
                continue
            result = run(
                RunOptions(
                    model=job.model,
                    accel=str(accel),
                    backend="rtl",
                    batch=job.batch,
                    task=job.task,
                    mapping=point.mapping,
                )
            )
            predicted.append(result.timing.cycles)
            seen.append(result.cycles_rtl)
            seconds += sum(result.seconds.values())
            failures += [f"{job.model}: {line}"[:LENGTH] for line in result.failures]
            if not result.bit_exact and not result.failures:
                failures.append(f"{job.model}: not all layers were compared")
            if result.cycles_rtl != swept:
                failures.append(f"{job.model}: {result.cycles_rtl} cycles on RTL, not {swept}")
    return {
        "cycles": cycles,
        "cycles_predicted": predicted,
        "cycles_rtl": seen,
        "exact": not failures,
        "failures": failures,
        "seconds": round(seconds, 1),
    }
