"""A space, read and checked: which points there are and what makes one good."""

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from moesaic.models.accel_io import load_accel
from moesaic.models.energy import load_energy
from moesaic.models.errors import InputError
from moesaic.models.numbers import INTEGER
from moesaic.models.space_names import SPACES, space_names
from moesaic.models.strict_yaml import read_yaml
from moesaic.sim.sweep.figures import ACCURACY, BOUNDED, FITS, OBJECTIVES
from moesaic.sim.sweep.point import MAPPING, PARAMETERS, SCRATCHPADS, Job, Problem
from moesaic.sim.sweep.schema import POINT_LIMIT, VALUE_LIMIT, Range, SpaceFile, parse_space

SIZE_LIMIT = 1 << 62
UNTRAINED = ("energy", ACCURACY, "lut", "ff")
"""Figures that machines for training lack."""
WORDS = (
    "base",
    "model",
    "nm",
    "gelu",
    "arrays",
    *(MAPPING + n for n in ("attention", "experts", "batch")),
)
"""Parameters that are no numbers."""
Bounds = tuple[float | None, float | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """A design space.

    Parameters
    ----------
    file : Path
        Where it was read.
    problem : Problem
        Accelerators and workloads that points start from.
    values : dict
        For each parameter, by the file's order, the values that it takes.
    objectives : tuple of str
    bounds : dict
        Least and greatest value of figures, None where there is none.
    fits : bool
        Whether a point must be on its board.
    sampler, points, generation, seed
        ``grid``, ``random``, ``nsga2`` or ``tpe``; how many different points; how many of them are
        asked for at a time by the last two; seed of all but the first.
    source : dict
        The file's content with all defaults.
    """

    file: Path
    problem: Problem
    values: dict[str, tuple[Any, ...]]
    objectives: tuple[str, ...]
    bounds: dict[str, Bounds]
    fits: bool
    sampler: str
    points: int
    generation: int
    seed: int
    source: dict[str, Any]

    @property
    def trains(self) -> bool:
        """Whether its machines train: all do or none."""
        return any(spec.numbers != INTEGER for spec in self.problem.bases.values())

    @property
    def size(self) -> int:
        """Points of the whole grid."""
        return math.prod(len(values) for values in self.values.values())

    def at(self, index: int) -> dict[str, Any]:
        """Return a point of the grid; the last parameter changes fastest."""
        out: dict[str, Any] = {}
        for name, values in reversed(self.values.items()):
            index, place = divmod(index, len(values))
            out[name] = values[place]
        return dict(reversed(out.items()))

    def grid(self) -> Iterator[dict[str, Any]]:
        """Give all points."""
        return map(self.at, range(self.size))


def load_space(source: str | Path) -> Space:
    """Read a space by its shipped name or from a YAML file.

    Raises InputError with one line that names file, field, value and what is allowed. Whether
    any point can be built is for :func:`moesaic.sim.sweep.check.check_space`.
    """
    text = str(source)
    path = SPACES / f"{text}.yaml" if text in space_names() else Path(text)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"SPACE must be a YAML file or one of {', '.join(space_names())}, not {text!r:.80}"
        )
    form = parse_space(read_yaml(path), path)
    try:
        return _resolve(form, path)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None


def _resolve(form: SpaceFile, path: Path) -> Space:
    values = {name: _values(name, given) for name, given in form.parameters.items()}
    for name in form.objectives:
        if name not in OBJECTIVES:
            raise InputError(f"objectives must be of {', '.join(OBJECTIVES)}, not {name!r:.60}")
    if len(set(form.objectives)) < len(form.objectives):
        raise InputError(f"objectives must differ, not {', '.join(form.objectives)}")
    bounds, must_fit = _constraints(form)
    names = {form.base, *map(str, values.get("base", ()))}
    bases = {name: _base(name) for name in sorted(names)}
    trains = {spec.numbers != INTEGER for spec in bases.values()}
    if len(trains) > 1:
        raise InputError(f"base: all must train or none, not {', '.join(bases)}")
    asked = {*form.objectives, *bounds}
    if trains == {True}:
        _check_training(values, asked)
    space = Space(
        file=path,
        problem=Problem(
            base=form.base,
            bases=bases,
            jobs=tuple(Job(**job.model_dump()) for job in form.workloads),
            energy=load_energy(form.energy),
            accuracy_images=form.accuracy_images if asked & {ACCURACY} else 0,
        ),
        values=values,
        objectives=tuple(form.objectives),
        bounds=bounds,
        fits=must_fit,
        sampler=form.sampler,
        points=form.points or 0,
        generation=form.generation,
        seed=form.seed,
        source=form.model_dump(by_alias=True, warnings=False),
    )
    return _with_points(space)


def _check_training(values: Mapping[str, Any], asked: Iterable[str]) -> None:
    """Refuse parameters and figures that machines for training do not have."""
    for name in values:
        if name == SCRATCHPADS or name.startswith(MAPPING):
            raise InputError(f"parameters.{name}: machines for training have no such choice")
    for name in sorted(asked):
        if name in UNTRAINED:
            raise InputError(f"{name} is not known of machines for training")


def _with_points(space: Space) -> Space:
    """Check the number of points, and say it where the file does not."""
    asked, size = space.points, space.size
    if size > SIZE_LIMIT:
        raise InputError(f"parameters make {size:.1e} points, at most 2**62 are allowed")
    if space.sampler != "grid":
        if not asked:
            raise InputError(f"points is missing, sampler {space.sampler} needs it")
        if asked > size:
            raise InputError(f"points must be at most {size}, all that there are, not {asked}")
        return space
    if size > POINT_LIMIT:
        raise InputError(f"sampler grid takes at most {POINT_LIMIT} points, parameters make {size}")
    if asked not in (0, size):
        raise InputError(f"points must be {size} or absent with sampler grid, not {asked}")
    return replace(space, points=size)


def _values(name: str, given: list[Any] | Range) -> tuple[Any, ...]:
    where = f"parameters.{name}"
    if name not in PARAMETERS:
        raise InputError(f"{where:.80}: unknown parameter, allowed are {', '.join(PARAMETERS)}")
    if isinstance(given, Range):
        values = given.values()
        if not values:
            raise InputError(f"{where}: to must be at least from = {given.first}, not {given.last}")
    else:
        values = given
        if not values:
            raise InputError(f"{where} must have at least one value, not []")
    if len(values) > VALUE_LIMIT:
        raise InputError(f"{where} must have at most {VALUE_LIMIT} values")
    kind, words = _kind(name)
    for place, value in enumerate(values):
        if isinstance(value, bool) or not isinstance(value, kind) or not _plain(value):
            raise InputError(f"{where} must hold {words}, not {value!r:.60}")
        if name == SCRATCHPADS and not 2**-10 <= value <= 2**10:
            raise InputError(f"{where} must hold numbers in 2**-10..2**10, not {value!r:.60}")
        if any(value == other and type(value) is type(other) for other in values[:place]):
            raise InputError(f"{where} must hold each value once, not {value!r:.60} twice")
    return tuple(values)


def _kind(name: str) -> tuple[type | tuple[type, ...], str]:
    """Return the type of a parameter's values, and what to call them."""
    if name == "sparsity":
        return list, "lists such as ['2:4']"
    if name in ("memory.bytes_per_cycle", SCRATCHPADS):
        return (int, float), "numbers"
    if name in WORDS:
        return str, "words"
    return int, "integers"


def _plain(value: object) -> bool:
    """Whether a value is finite and short."""
    if isinstance(value, list):
        return len(value) <= 16 and all(isinstance(word, str) and len(word) < 64 for word in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return len(str(value)) < 256


def _constraints(form: SpaceFile) -> tuple[dict[str, Bounds], bool]:
    bounds: dict[str, Bounds] = {}
    for name, bound in form.constraints.items():
        where = f"constraints.{name:.60}"
        if name == FITS:
            if not isinstance(bound, bool):
                raise InputError(f"{where} must be true or false")
            continue
        if name not in BOUNDED:
            raise InputError(f"{where}: unknown figure, allowed are {FITS}, {', '.join(BOUNDED)}")
        if isinstance(bound, bool) or (bound.min is None and bound.max is None):
            raise InputError(f"{where} must be a mapping with min, max or both")
        if bound.min is not None and bound.max is not None and bound.min > bound.max:
            raise InputError(f"{where}: max must be at least min = {bound.min}, not {bound.max}")
        bounds[name] = (bound.min, bound.max)
    return bounds, form.constraints.get(FITS) is True


def _base(name: str) -> Any:
    try:
        return load_accel(name)
    except InputError as error:
        raise InputError(f"base: {str(error).removeprefix('--accel ')}") from None
