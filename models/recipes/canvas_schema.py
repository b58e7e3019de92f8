"""The fields of a recipe that trains on canvases."""

from dataclasses import dataclass
from typing import Any

from moesaic.models.canvases import CANVAS_CLASSES
from moesaic.models.errors import InputError
from moesaic.models.moe_config import MoeVitConfig
from moesaic.models.recipes.fields import (
    arguments_of,
    check_name,
    check_numbers,
    number_field,
)

CANVAS = "canvas"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanvasRecipe:
    """How to train one network on both tasks of the canvases; AdamW, warm-up, cosine decay.

    Each epoch takes `canvases` new canvases of training digits. The loss is cross-entropy for the
    digit of a patch, weighed by `digit_weight`, plus the squared error of its depth, weighed by
    `depth_weight`, plus `balance` times the mean loss of the gates, plus `activation_penalty` times
    the fourth power of the residual stream (against outliers, from which int8 would suffer).
    `gate_noise` over the number of experts is the deviation of the noise on the gates' logits.
    Another `holdout` canvases of training digits measure after each epoch.
    """

    name: str
    dataset: str
    model: MoeVitConfig
    seed: int = number_field(0, 2**31 - 1)
    epochs: int = number_field(1, 10_000)
    canvases: int = number_field(1, 1_000_000)
    batch: int = number_field(1, 4096)
    learning_rate: float = number_field(1e-7, 1.0)
    weight_decay: float = number_field(0.0, 10.0, 0.0)
    warmup_epochs: float = number_field(0.0, 1000.0, 0.0)
    digit_weight: float = number_field(0.0, 1000.0, 1.0)
    depth_weight: float = number_field(0.0, 1000.0, 1.0)
    balance: float = number_field(0.0, 100.0, 0.01)
    gate_noise: float = number_field(0.0, 100.0, 1.0)
    ema: float = number_field(0.0, 0.99999, 0.0)
    activation_penalty: float = number_field(0.0, 1.0, 0.0)
    holdout: int = number_field(0, 2000, 0)
    threads: int = number_field(1, 64, 1)

    def __post_init__(self) -> None:
        check_name(self.name)
        if self.dataset != CANVAS:
            raise InputError(f"dataset must be {CANVAS!r}, not {self.dataset!r:.60}")
        check_numbers(self)
        if self.model.outputs != (CANVAS_CLASSES, 1):
            raise InputError(
                f"model must have outputs {[CANVAS_CLASSES, 1]} for {CANVAS}, "
                f"not {list(self.model.outputs)}"
            )

    @classmethod
    def from_mapping(cls, values: object) -> "CanvasRecipe":
        """Build from parsed YAML; InputError names the field, the value and what is allowed."""
        arguments: dict[str, Any] = arguments_of(cls, values, "the recipe")
        arguments["model"] = MoeVitConfig.from_mapping(arguments["model"])
        return cls(**arguments)
