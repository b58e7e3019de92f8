"""What `moesaic step --out` leaves in its directory: `step.json`, read back and checked."""

from dataclasses import dataclass, field
from pathlib import Path

from moesaic.models.errors import InputError
from moesaic.models.training.step import STAGES
from moesaic.reports.json_record import from_json, read_json
from moesaic.reports.run_record import UNITS, Measured

STEP_FILE = "step.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What one stage takes; the MACs are executed ones and those without N:M."""

    macs: int
    dense_macs: int
    cycles_predicted: int
    cycles_rtl: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseStage:
    """The same stage of the dense step: `speedup` over it, and the bound of that by MACs."""

    macs: int
    cycles_predicted: int
    speedup: float | None = None
    bound: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseLayer(DenseStage):
    """One stage (`op`) of one layer of the dense step."""

    name: str
    op: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Dense:
    """The dense step of the same network, batch and accelerator, predicted."""

    macs: int
    cycles_predicted: int
    units: dict[str, int]
    stages: dict[str, DenseStage]
    layers: list[DenseLayer]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRecord(Measured):
    """Steps in a row; a loss that was not finite is None, `units` are busy cycles.

    `layers` have a row for each stage (`op`) of a layer; `scratchpads` are words in use at most.
    """

    method: str
    nm: str | None = None
    steps: int
    loss: list[float | None]
    overflow: list[bool]
    gops: float
    dense_equivalent_gops: float
    dense_equivalent_utilisation: float
    dense: Dense | None = None
    speedup: float | None = None
    bound: float | None = None
    of_bound: float | None = None
    units: dict[str, int]
    stages: dict[str, Stage]
    scratchpads: dict[str, int] = field(default_factory=dict)
    scratchpad_words: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        Measured.__post_init__(self)  # super() knows not the class that slots make
        for name in ("loss", "overflow"):
            if not len(getattr(self, name)) == self.steps >= 1:
                raise InputError(f"{name} must have one item for each of {self.steps} steps")
        dense = self.dense
        stages = [(self.stages, "stages")] + ([(dense.stages, "dense.stages")] if dense else [])
        for found, name in stages:
            _check_names(name, set(found), STAGES)
        for name, names in (
            ("layers", {layer.op for layer in self.layers}),
            ("dense.layers", {layer.op for layer in dense.layers} if dense else set()),
            ("timeline", {bar.stage for bar in self.timeline} - {""}),
        ):
            _check_names(name, names, STAGES, some=True)
        for units, name in ((self.units, "units"), (dense.units if dense else {}, "dense.units")):
            _check_names(name, set(units), UNITS, some=True)

    @property
    def title(self) -> str:
        """Method with its N:M."""
        return f"{self.method} {self.nm}" if self.nm else self.method


def load_step(directory: Path) -> StepRecord:
    """Read `step.json` of a directory; InputError is one line that names what is wrong."""
    path = directory / STEP_FILE
    return from_json(StepRecord, read_json(path), where=str(path))


def _check_names(
    where: str, found: set[str], known: tuple[str, ...], *, some: bool = False
) -> None:
    """Refuse names that are unknown, and missing ones unless `some` will do."""
    wrong = found - set(known) or (set() if some else set(known) - found)
    if wrong:
        raise InputError(f"{where} must name {', '.join(known)}, not {min(wrong)!r:.60}")
