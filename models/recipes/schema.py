"""The fields of a training recipe and what each may hold."""

import re
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import Any

from moesaic.models.errors import InputError
from moesaic.models.vit_config import VitConfig

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,63}")
_NM = re.compile(r"([1-9]\d?):([1-9]\d?)")


def _number(low: float, high: float, default: Any = MISSING) -> Any:
    """Declare a number field that must lie in low..high; integer bounds allow integers only."""
    return field(default=default, metadata={"range": (low, high)})


def _check_numbers(spec: Any, prefix: str = "") -> None:
    """Raise InputError for the first number field of the wrong type or out of its range."""
    for item in fields(spec):
        if "range" not in item.metadata:
            continue
        (low, high), value = item.metadata["range"], getattr(spec, item.name)
        whole = isinstance(low, int)
        good = type(value) is int or (type(value) is float and not whole)
        if not good or not low <= value <= high:
            kind = "an integer" if whole else "a number"
            raise InputError(
                f"{prefix}{item.name} must be {kind} in {low}..{high}, not {value!r:.60}"
            )


def _from_mapping(cls: type, values: object, where: str) -> dict[str, Any]:
    """Return `values` as arguments of `cls`, or raise InputError for unknown or missing keys."""
    known = [item.name for item in fields(cls)]
    needed = [i.name for i in fields(cls) if i.default is MISSING and i.default_factory is MISSING]
    if not isinstance(values, Mapping):
        raise InputError(f"{where} must be a mapping with the keys {known}, not {values!r:.60}")
    for key in values:
        if key not in known:
            raise InputError(f"unknown key {key!r:.60} in {where}; allowed are {known}")
    for key in needed:
        if key not in values:
            raise InputError(f"{key} is missing in {where}; needed are {needed}")
    return dict(values)


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSpec:
    """Largest distortions of a training image; all zero means none.

    Rotation in degrees, shift in pixels, scale and shear as fractions, `elastic_pixels` the
    deviation of a smooth displacement field.
    """

    rotate_degrees: float = _number(0.0, 180.0, 0.0)
    shift_pixels: float = _number(0.0, 14.0, 0.0)
    scale: float = _number(0.0, 1.0, 0.0)
    shear: float = _number(0.0, 1.0, 0.0)
    elastic_pixels: float = _number(0.0, 8.0, 0.0)

    def __post_init__(self) -> None:
        _check_numbers(self, "augment.")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainRecipe:
    """How to train one network; AdamW with linear warm-up and cosine decay.

    `start` names the weights to begin from (a shipped network or an .npz file). `nm`, such as
    "2:4", prunes the four linear layers of every block: masks follow the magnitudes for the first
    `search_share` of the epochs, with `prune_decay` pulling pruned weights to zero, then freeze.
    `activation_penalty` weighs the fourth power of the residual stream, which keeps outliers away
    that int8 would suffer from. The last `holdout` training images measure and are not trained on.
    """

    name: str
    dataset: str
    model: VitConfig
    seed: int = _number(0, 2**31 - 1)
    epochs: int = _number(1, 10_000)
    batch: int = _number(1, 4096)
    learning_rate: float = _number(1e-7, 1.0)
    start: str | None = None
    nm: str | None = None
    weight_decay: float = _number(0.0, 10.0, 0.0)
    warmup_epochs: float = _number(0.0, 1000.0, 0.0)
    label_smoothing: float = _number(0.0, 0.9, 0.0)
    mixup: float = _number(0.0, 1.0, 0.0)
    ema: float = _number(0.0, 0.99999, 0.0)
    activation_penalty: float = _number(0.0, 1.0, 0.0)
    search_share: float = _number(0.0, 1.0, 0.6)
    prune_decay: float = _number(0.0, 100.0, 0.0)
    holdout: int = _number(0, 2000, 0)
    threads: int = _number(1, 64, 1)
    augment: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise InputError(f"name must match {_NAME.pattern}, not {self.name!r:.60}")
        if self.dataset != "mnist":
            raise InputError(f"dataset must be 'mnist', not {self.dataset!r:.60}")
        if self.start is not None and (not isinstance(self.start, str) or not self.start):
            raise InputError(f"start must be a network or an .npz file, not {self.start!r:.60}")
        _check_numbers(self)
        if (self.model.image, self.model.channels, self.model.classes) != (28, 1, 10):
            raise InputError("model must have image 28, channels 1 and classes 10 for mnist")
        if self.nm is not None:
            self._check_nm()

    def _check_nm(self) -> None:
        """Raise InputError unless `nm` fits every layer that it prunes."""
        found = _NM.fullmatch(self.nm) if isinstance(self.nm, str) else None
        if not found or int(found[1]) > int(found[2]) or int(found[2]) > 32:
            raise InputError(f"nm must be 'N:M' with N <= M <= 32, not {self.nm!r:.60}")
        for field_name in ("dim", "mlp"):
            width = getattr(self.model, field_name)
            if width % int(found[2]):
                raise InputError(
                    f"nm must have an M that divides {field_name} = {width}, not {self.nm!r}"
                )

    @property
    def n_of_m(self) -> tuple[int, int] | None:
        """N and M, or None for a dense network."""
        if self.nm is None:
            return None
        n, m = self.nm.split(":")
        return int(n), int(m)

    @classmethod
    def from_mapping(cls, values: object) -> "TrainRecipe":
        """Build from parsed YAML; InputError names the field, the value and what is allowed."""
        arguments = _from_mapping(cls, values, "the recipe")
        arguments["model"] = VitConfig.from_mapping(arguments["model"])
        if "augment" in arguments:
            augment = _from_mapping(AugmentSpec, arguments["augment"], "augment")
            arguments["augment"] = AugmentSpec(**augment)
        return cls(**arguments)
