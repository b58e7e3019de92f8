"""What `moesaic run` leaves in a run directory: `run.json`, read back and checked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError
from moesaic.reports.json_record import from_json, read_json

RUN_FILE = "run.json"
UNITS = ("load", "store", "stationary", "stream", "vector")


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatError:
    """Distance of a layer from the float network, in float units and in decibels."""

    max_abs: float
    sqnr_db: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerRow:
    """One layer; cycles are those by which it brings the end of the run further."""

    name: str
    op: str
    nm: str | None = None
    macs: int
    dense_macs: int | None = None
    cycles_predicted: int
    cycles_rtl: int | None = None
    bytes_read: int
    bytes_written: int
    utilisation: float
    float_error: FloatError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One command on a unit: taken in cycle `start`, done in cycle `end`.

    `part` is that of a layer that has several, `stage` that of a training step.
    """

    unit: str
    node: str
    part: int = 0
    stage: str = ""
    start: int
    end: int

    def __post_init__(self) -> None:
        if self.unit not in UNITS:
            raise InputError(f"unit must be one of {', '.join(UNITS)}, not {self.unit!r:.60}")
        if not 0 <= self.start <= self.end:
            raise InputError(
                f"end must be at least start and start at least 0, not {self.start} and {self.end}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fill:
    """Words of a scratchpad that a run needs at most, and words there are."""

    peak_words: int
    words: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run and a training step have; the fields carry the names of the JSON, which has more.

    `mismatches` is a count or a list with one item each, `failures` a line each. Cycles and bytes
    are those of one batch.
    """

    model: str
    accel: str
    backend: str
    batch: int
    tokens: int
    macs: int
    dense_macs: int | None = None
    seed: int
    stall: float = 0.0
    bit_exact: bool
    layers_compared: int
    mismatches: int | list[Any]
    failures: list[str] = field(default_factory=list)
    cycles_predicted: int
    cycles_rtl: int | None = None
    cycles_exact: bool | None = None
    cycles_floor: dict[str, float]
    utilisation: float
    bytes_read: int
    bytes_written: int
    clock_hz: float
    clock_is: str
    latency_s: float
    seconds: dict[str, float | None]
    layers: list[LayerRow]
    timeline: list[Bar] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    command: str | None = None

    def __post_init__(self) -> None:
        if self.cycles_predicted < 1:
            raise InputError(f"cycles_predicted must be at least 1, not {self.cycles_predicted}")
        if self.clock_hz <= 0:
            raise InputError(f"clock_hz must be above 0, not {self.clock_hz}")
        last = max((bar.end for bar in self.timeline), default=0)
        if last >= self.cycles:
            raise InputError(f"timeline must end before cycle {self.cycles}, not in {last}")

    @property
    def cycles(self) -> int:
        """Cycles that the timeline covers: those of the RTL, if it ran."""
        return self.cycles_rtl or self.cycles_predicted

    @property
    def mismatch_count(self) -> int:
        """Layers, or operations, that differ."""
        return self.mismatches if isinstance(self.mismatches, int) else len(self.mismatches)

    @property
    def same_cycles(self) -> bool | None:
        """Whether RTL took the predicted cycles; None without RTL."""
        if self.cycles_exact is None and self.cycles_rtl is not None:
            return self.cycles_rtl == self.cycles_predicted
        return None if self.cycles_rtl is None else self.cycles_exact


@dataclass(frozen=True, slots=True, kw_only=True)
class Run(Measured):
    """A whole run.

    `accuracy` has a metric, images and the results ``float``, ``quantised`` and perhaps ``rtl``;
    `accelerator`, `synth` and `pnr` are free objects.
    """

    images: int = 1
    accuracy: dict[str, float | str | None] | None = None
    scratchpads: dict[str, Fill] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    accelerator: dict[str, Any] | None = None
    synth: dict[str, Any] | None = None
    pnr: dict[str, Any] | None = None


def load_run(directory: Path) -> Run:
    """Read `run.json` of a run directory.

    Raises
    ------
    InputError
        One line that names the file, the field, the value and what is allowed.
    """
    path = directory / RUN_FILE
    if not directory.is_dir():
        raise InputError(f"{directory}: must be the directory of a run")
    return from_json(Run, read_json(path), where=str(path))
