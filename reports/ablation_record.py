"""What `moesaic ablate` leaves in its directory: `ablation.json`, read back and checked."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError
from moesaic.reports.json_record import from_json, read_json

ABLATION_FILE = "ablation.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class AblationRow:
    """One run; `slower` is its cycles over those of the first row."""

    name: str
    slower: float
    cycles_predicted: int
    cycles_rtl: int | None = None
    cycles_exact: bool | None = None
    bit_exact: bool
    layers_compared: int
    latency_s: float
    bytes_read: int
    bytes_written: int
    on_chip_bytes: int
    resources: dict[str, float] | None = None
    failures: list[str]

    @property
    def cycles(self) -> int:
        """Cycles on RTL, else as predicted."""
        return self.cycles_predicted if self.cycles_rtl is None else self.cycles_rtl


@dataclass(frozen=True, slots=True, kw_only=True)
class BandwidthRow:
    """One machine and order of attention; `bytes_per_beat` is counted on RTL."""

    columns: int
    order: str
    cycles: int
    beats: int
    key_lines: int
    value_lines: int
    bytes: int
    bytes_per_beat: float
    failures: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ablation:
    """All rows of an ablation; `limits` are what the part offers, by resource."""

    model: str
    accel: str
    task: int = 0
    clock_hz: int
    target: str
    limits: dict[str, int] = field(default_factory=dict)
    rows: list[AblationRow]
    bandwidth: list[BandwidthRow] = field(default_factory=list)
    command: str | None = None

    def __post_init__(self) -> None:
        if not self.rows:
            raise InputError("rows must be at least one, not none")

    @property
    def failures(self) -> list[str]:
        """All differences, with the row's name in front."""
        machines: list[tuple[str, Any]] = [(row.name, row) for row in self.rows]
        machines += [(f"{row.columns} columns, {row.order}", row) for row in self.bandwidth]
        return [f"{name}: {text}" for name, row in machines for text in row.failures]


def load_ablation(directory: Path) -> Ablation:
    """Read `ablation.json` of a directory; InputError is one line that names what is wrong."""
    path = directory / ABLATION_FILE
    return from_json(Ablation, read_json(path), where=str(path))
