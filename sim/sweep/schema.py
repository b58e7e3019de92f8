"""The form of a space's file: what keys there are and what each may hold."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from moesaic.models.energy import STANDARD
from moesaic.models.errors import InputError
from moesaic.sim.options import BATCH_LIMIT, SEED_LIMIT, TASK_LIMIT

VALUE_LIMIT = 1024  # of one parameter
POINT_LIMIT = 1_000_000
Number = int | float


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Workload(_Strict):
    """One run of a point: `batch` images of a model's `task` in one command stream.

    On machines for training: a step of a network's layers, `nm` of their weights kept.
    """

    model: str = Field(min_length=1)
    task: int = Field(default=0, ge=0, le=TASK_LIMIT)
    batch: int = Field(default=1, ge=1, le=BATCH_LIMIT)
    nm: str = Field(default="dense", min_length=1, max_length=8)


class Range(_Strict):
    """Numbers `from` .. `to`, `step` apart, or each twice the one before (``step: double``)."""

    first: Number = Field(alias="from", gt=0)
    last: Number = Field(alias="to", gt=0)
    step: Annotated[Number, Field(gt=0)] | Literal["double"]

    def values(self) -> list[Number]:
        """Return the numbers, none if `to` is below `from`; at most one more than is allowed."""
        out: list[Number] = []
        value = self.first
        while value <= self.last and len(out) <= VALUE_LIMIT:
            out.append(value)
            apart = self.step
            value = 2 * value if isinstance(apart, str) else self.first + len(out) * apart
        return out


class Bound(_Strict):
    """What a figure of a good point keeps to."""

    min: Number | None = None
    max: Number | None = None


def _form(value: object) -> str:
    return "range" if isinstance(value, dict) else "list"


Values = Annotated[
    Annotated[list[Any], Tag("list")] | Annotated[Range, Tag("range")], Discriminator(_form)
]


class SpaceFile(_Strict):
    """A space: docs/sweep.md describes each key."""

    base: str = Field(min_length=1)
    workloads: list[Workload] = Field(min_length=1, max_length=16)
    parameters: dict[str, Values] = Field(min_length=1, max_length=64)
    objectives: list[str] = Field(min_length=1, max_length=4)
    constraints: dict[str, Bound | bool] = Field(default_factory=dict)
    sampler: Literal["grid", "random", "nsga2", "tpe"] = "grid"
    points: int | None = Field(default=None, ge=1, le=POINT_LIMIT)
    energy: str = Field(default=STANDARD, min_length=1)
    accuracy_images: int = Field(default=500, ge=1, le=100_000)
    generation: int = Field(default=32, ge=4, le=1024)
    seed: int = Field(default=0, ge=0, le=SEED_LIMIT)


_FORMS: dict[str, type[_Strict]] = {
    "workloads": Workload,
    "parameters": Range,
    "constraints": Bound,
}
_TAGS = {"list", "range", "Bound", "bool"}


def parse_space(data: object, path: Path) -> SpaceFile:
    """Return what a file holds; InputError in one line that names file, field and value."""
    if not isinstance(data, dict):
        raise InputError(f"{path} must be a mapping of keys, not {type(data).__name__}")
    try:
        return SpaceFile.model_validate(data)
    except ValidationError as error:
        raise InputError(f"{path}: {_line(error)}") from None


def _line(error: ValidationError) -> str:
    """Return the first mistake as one line."""
    first = error.errors()[0]
    place = [str(part)[:60] for part in first["loc"] if part not in _TAGS]
    value = f"not {first['input']!r:.60}"
    if first["type"] == "extra_forbidden":
        form = _FORMS.get(place[0], SpaceFile) if len(place) > 1 else SpaceFile
        names = ", ".join(field.alias or name for name, field in form.model_fields.items())
        return f"unknown key {'.'.join(place)!r}, allowed are {names}"
    where = ".".join(place)
    if first["type"] == "missing":
        return f"{where} is missing"
    message = first["msg"].replace("Input should", "must").replace("should", "must")
    return f"{where}: {message[0].lower()}{message[1:]}, {value}"
