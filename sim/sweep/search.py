"""Which points to look at next. A search depends on its seed and on what it was told, not on time.

Points are asked for in batches, and told in the order in which they were asked for, however late
each came; a sweep that goes on asks again from the start and is told what the store holds.
"""

import random
from collections.abc import Generator, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from moesaic.sim.sweep.figures import NEVER, Verdict
from moesaic.sim.sweep.point import point_key
from moesaic.sim.sweep.space import Space

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.samplers import BaseSampler

Point = dict[str, Any]
Search = Generator[Iterable[Point], Sequence[Verdict], None]
STALE = 20  # generations without a new point, after which there is none to be found


def search(space: Space) -> Search:
    """Return the search that a space asks for: it yields batches and is sent their verdicts."""
    if space.sampler == "grid":
        return _listed(space.grid())
    if space.sampler == "random":
        places = random.Random(space.seed).sample(range(space.size), space.points)  # noqa: S311
        return _listed(map(space.at, places))
    return _generations(space)


def _listed(points: Iterable[Point]) -> Search:
    yield points


def _generations(space: Space) -> Search:
    """Ask Optuna for generations until there are as many different points as wanted.

    Optuna's study lives in memory; a point that it proposes again is told again, not computed.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(
        directions=["minimize"] * len(space.objectives), sampler=_sampler(space)
    )
    distributions = {name: _distribution(values) for name, values in space.values.items()}
    seen: set[str] = set()
    stale = 0
    while len(seen) < space.points and stale < STALE:
        before = len(seen)
        trials: list[Any] = []
        points: list[dict[str, Any]] = []
        while len(trials) < space.generation and len(seen) < space.points:
            trial = study.ask(distributions)
            point = {name: space.values[name][trial.params[name]] for name in space.values}
            seen.add(point_key(point))
            trials.append(trial)
            points.append(point)
        verdicts = yield points
        for trial, verdict in zip(trials, verdicts, strict=True):
            trial.set_constraint("violation", min(verdict.violation, NEVER))
            study.tell(trial, list(verdict.values))
        stale = 0 if len(seen) > before else stale + 1


def _sampler(space: Space) -> "BaseSampler":
    from optuna.samplers import NSGAIISampler, TPESampler

    if space.sampler == "nsga2":
        return NSGAIISampler(population_size=space.generation, seed=space.seed)
    return TPESampler(n_startup_trials=space.generation, seed=space.seed, multivariate=True)


def _distribution(values: Sequence[Any]) -> "BaseDistribution":
    """Return the places of a parameter's values: in order if they are ascending numbers."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    numbers = [value for value in values if isinstance(value, int | float)]
    if len(numbers) == len(values) and numbers == sorted(numbers):
        return IntDistribution(0, len(values) - 1)
    return CategoricalDistribution(range(len(values)))
