"""The fields of a recipe that trains by a method of `training_method.py`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from moesaic.models.conv_config import ConvConfig
from moesaic.models.errors import InputError
from moesaic.models.recipes.fields import arguments_of, check_name, check_numbers, number_field
from moesaic.models.recipes.schema import AugmentSpec
from moesaic.models.small_images import CLASSES, SIDES
from moesaic.models.training_method import MethodSpec
from moesaic.models.vit_config import VitConfig

OPTIMISERS = ("sgd", "adamw")


@dataclass(frozen=True, slots=True, kw_only=True)
class MethodRecipe:
    """How to train one network, dense or by a sparse method; warm-up, then a cosine to zero.

    `dataset` is ``mnist`` or ``digits``. `optimiser` is ``sgd`` with `momentum`, or ``adamw``;
    `weight_decay` is for matrices and kernels only. The last `holdout` training images measure and
    are not trained on. The network that comes out is the one of the last step.
    """

    name: str
    dataset: str
    model: VitConfig | ConvConfig
    method: MethodSpec
    seed: int = number_field(0, 2**31 - 1)
    epochs: int = number_field(1, 10_000)
    batch: int = number_field(1, 4096)
    optimiser: str = "sgd"
    learning_rate: float = number_field(1e-7, 10.0)
    momentum: float = number_field(0.0, 0.9999, 0.9)
    weight_decay: float = number_field(0.0, 10.0, 0.0)
    warmup_epochs: float = number_field(0.0, 1000.0, 0.0)
    label_smoothing: float = number_field(0.0, 0.9, 0.0)
    holdout: int = number_field(0, 2000, 0)
    threads: int = number_field(1, 64, 1)
    augment: AugmentSpec = field(default_factory=AugmentSpec)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.dataset not in SIDES:
            allowed = " or ".join(map(repr, SIDES))
            raise InputError(f"dataset must be {allowed}, not {self.dataset!r:.60}")
        if self.optimiser not in OPTIMISERS:
            allowed = " or ".join(map(repr, OPTIMISERS))
            raise InputError(f"optimiser must be {allowed}, not {self.optimiser!r:.60}")
        check_numbers(self)
        sides, model = SIDES[self.dataset], self.model
        if (model.channels, model.classes) != (1, CLASSES) or model.image not in sides:
            allowed = " or ".join(map(str, sides))
            raise InputError(
                f"model must have image {allowed}, channels 1 and classes {CLASSES} "
                f"for {self.dataset}"
            )
        self.method.rules(model.weight_layers)

    @classmethod
    def from_mapping(cls, values: object) -> "MethodRecipe":
        """Build from parsed YAML; InputError names the field, the value and what is allowed."""
        arguments: dict[str, Any] = arguments_of(cls, values, "the recipe")
        arguments["method"] = MethodSpec.from_mapping(arguments["method"])
        arguments["model"] = _model(arguments["model"])
        if "augment" in arguments:
            augment = arguments_of(AugmentSpec, arguments["augment"], "augment")
            arguments["augment"] = AugmentSpec(**augment)
        return cls(**arguments)


def _model(values: object) -> VitConfig | ConvConfig:
    """Build a convolutional network where there are `layers`, else a transformer."""
    if isinstance(values, Mapping) and "layers" in values:
        return ConvConfig.from_mapping(values)
    return VitConfig.from_mapping(values)
