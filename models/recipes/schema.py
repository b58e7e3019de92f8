"""The fields of a training recipe and what each may hold."""

import re
from dataclasses import dataclass, field

from moesaic.models.errors import InputError
from moesaic.models.recipes.fields import arguments_of, check_name, check_numbers, number_field
from moesaic.models.vit_config import VitConfig

_NM = re.compile(r"([1-9]\d?):([1-9]\d?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class AugmentSpec:
    """Largest distortions of a training image; all zero means none.

    Rotation in degrees, shift in pixels, scale and shear as fractions, `elastic_pixels` the
    deviation of a smooth displacement field.
    """

    rotate_degrees: float = number_field(0.0, 180.0, 0.0)
    shift_pixels: float = number_field(0.0, 14.0, 0.0)
    scale: float = number_field(0.0, 1.0, 0.0)
    shear: float = number_field(0.0, 1.0, 0.0)
    elastic_pixels: float = number_field(0.0, 8.0, 0.0)

    def __post_init__(self) -> None:
        check_numbers(self, "augment.")


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
    seed: int = number_field(0, 2**31 - 1)
    epochs: int = number_field(1, 10_000)
    batch: int = number_field(1, 4096)
    learning_rate: float = number_field(1e-7, 1.0)
    start: str | None = None
    nm: str | None = None
    weight_decay: float = number_field(0.0, 10.0, 0.0)
    warmup_epochs: float = number_field(0.0, 1000.0, 0.0)
    label_smoothing: float = number_field(0.0, 0.9, 0.0)
    mixup: float = number_field(0.0, 1.0, 0.0)
    ema: float = number_field(0.0, 0.99999, 0.0)
    activation_penalty: float = number_field(0.0, 1.0, 0.0)
    search_share: float = number_field(0.0, 1.0, 0.6)
    prune_decay: float = number_field(0.0, 100.0, 0.0)
    holdout: int = number_field(0, 2000, 0)
    threads: int = number_field(1, 64, 1)
    augment: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.dataset != "mnist":
            raise InputError(f"dataset must be 'mnist' or 'canvas', not {self.dataset!r:.60}")
        if self.start is not None and (not isinstance(self.start, str) or not self.start):
            raise InputError(f"start must be a network or an .npz file, not {self.start!r:.60}")
        check_numbers(self)
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
        arguments = arguments_of(cls, values, "the recipe")
        arguments["model"] = VitConfig.from_mapping(arguments["model"])
        if "augment" in arguments:
            augment = arguments_of(AugmentSpec, arguments["augment"], "augment")
            arguments["augment"] = AugmentSpec(**augment)
        return cls(**arguments)
