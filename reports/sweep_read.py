"""What `moesaic sweep` leaves in its directory: `sweep.json`, read back and checked."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError
from moesaic.reports.json_record import from_json, read_json
from moesaic.reports.sweep_record import JSON_FILE
from moesaic.sim.sweep.figures import OBJECTIVES

_NAME = re.compile(r"[A-Za-z_][\w.]{0,60}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """One run of a point."""

    model: str
    task: int = 0
    batch: int = 1
    nm: str = "dense"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpaceRow:
    """The space as its file has it, with all defaults; `size` is the number of its points."""

    file: str
    size: int
    base: str
    workloads: list[Workload]
    objectives: list[str]
    constraints: dict[str, Any] = field(default_factory=dict)
    sampler: str
    seed: int = 0

    def __post_init__(self) -> None:
        for name in self.objectives:
            if name not in OBJECTIVES:
                raise InputError(f"objectives must be of {', '.join(OBJECTIVES)}, not {name!r:.60}")
        if not self.workloads or not self.objectives:
            raise InputError("workloads and objectives must have at least one item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One point; `figures` are None where it cannot be built, and `problem` says why."""

    number: int
    parameters: dict[str, Any]
    figures: dict[str, Any] | None = None
    problem: str | None = None
    feasible: bool
    violated: list[str]
    front: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A point on RTL; cycles are by workload: those of the sweep, and those counted."""

    number: int
    chosen: str
    cycles: list[int]
    cycles_rtl: list[int | None]
    exact: bool
    failures: list[str]
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """A point's cycles by kind of layer."""

    number: int
    cycles: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A whole sweep; `resources_count` says what is counted of each resource.

    `whole_design` names the resources that count a whole design, as published tables do.
    """

    space: SpaceRow
    parameters: dict[str, list[Any]]
    resources_count: dict[str, str] = field(default_factory=dict)
    whole_design: list[str] = field(default_factory=list)
    points: list[Point]
    front: list[int]
    verification: list[Confirmation] = field(default_factory=list)
    breakdowns: list[Breakdown] = field(default_factory=list)
    computed: int
    seconds: float
    cpu_seconds_of_points: float = 0.0
    command: str | None = None

    def __post_init__(self) -> None:
        names, figures = set(self.parameters), set(self.figure_names)
        _check_names("parameters", names)
        _check_names("figures", {name for p in self.points for name in p.figures or ()})
        numbers = {point.number for point in self.points}
        if not numbers or len(numbers) < len(self.points):
            raise InputError("points must be at least one, each with a number of its own")
        for place, point in enumerate(self.points):
            where = f"points[{place}]"
            if set(point.parameters) != names:
                raise InputError(
                    f"{where}.parameters must name {', '.join(sorted(names)):.200}, "
                    f"not {', '.join(sorted(point.parameters)):.200}"
                )
            for name in figures if point.figures else ():
                value = point.figures and point.figures.get(name)
                if type(value) not in (int, float):
                    raise InputError(f"{where}.figures.{name} must be a number, not {value!r:.60}")
        missing = set(self.space.objectives) - figures
        if missing:
            raise InputError(f"figures must have every objective, but {min(missing)} is missing")
        for name, wanted in (
            ("front", self.front),
            ("verification", [record.number for record in self.verification]),
            ("breakdowns", [one.number for one in self.breakdowns]),
        ):
            foreign = set(wanted) - numbers
            if foreign:
                raise InputError(f"{name} must hold numbers of points, not {min(foreign)}")

    @property
    def built(self) -> list[Point]:
        """Points that have figures."""
        return [point for point in self.points if point.figures]

    @property
    def figure_names(self) -> list[str]:
        """Figures that are numbers, by the order of the first point that has any: objectives first.

        Truth values and lists are no figures of a plot.
        """
        first = next((point.figures for point in self.points if point.figures), {})
        names = [name for name, value in first.items() if type(value) in (int, float)]
        goals = [name for name in self.space.objectives if name in names]
        return goals + [name for name in names if name not in goals]

    @property
    def varied(self) -> list[str]:
        """Parameters that have more than one value."""
        return [name for name, values in self.parameters.items() if len(values) > 1]


def load_sweep(directory: Path) -> Sweep:
    """Read `sweep.json` of a directory; InputError is one line that names what is wrong."""
    path = directory / JSON_FILE
    return from_json(Sweep, read_json(path), where=str(path))


def _check_names(where: str, names: Iterable[str]) -> None:
    for name in names:
        if not _NAME.fullmatch(name):
            raise InputError(
                f"{where}: a name must have letters, digits, _ and dots, not {name!r:.60}"
            )
