"""What `moesaic train` leaves in its directory: `training.json`, read back and checked."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError
from moesaic.reports.json_record import from_json, read_json

TRAINING_FILE = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """One epoch: mean loss, what was measured on the hold-out, seconds since the begin."""

    epoch: int
    loss: float
    seconds: float
    holdout_top1: float | None = None
    holdout_accuracy: float | None = None
    holdout_rmse: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """What was measured on the test images, once."""

    metric: str
    float: float
    images: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRecord:
    """A training run; of more than one task, `tasks` has a metric of each."""

    recipe: dict[str, Any]
    history: list[Epoch]
    seconds: float
    accuracy: Metric | None = None
    tasks: list[Metric] | None = None

    @property
    def metrics(self) -> list[Metric]:
        """All metrics."""
        return ([self.accuracy] if self.accuracy else []) + (self.tasks or [])


def load_training(directory: Path) -> TrainingRecord:
    """Return the record of a directory; InputError names the file and the field."""
    path = directory / TRAINING_FILE
    record = from_json(TrainingRecord, read_json(path), where=str(path))
    if not record.history:
        raise InputError(f"{path}: history must have at least one epoch, has none")
    return record
