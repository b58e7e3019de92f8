"""The shape of a convolutional network of 3 by 3 layers, ResNet9-like or VGG-like."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from math import prod
from typing import Any

from moesaic.models.errors import InputError
from moesaic.models.training_method import WeightLayer
from moesaic.models.vit_config import PARAMETER_LIMIT

KERNEL = 3
AVERAGE, MAXIMUM, RESIDUAL = "average", "max", "residual"
BRANCH = ("first", "second")
Entry = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvConfig:
    """Square images of `image` pixels a side and `channels` planes to `classes` logits.

    `layers` is read from the image on. A number is a unit of that many channels: convolution of 3
    by 3 (stride 1, zeros around, no bias), BatchNorm, ReLU.
    ``residual`` adds two units of the channels there are to their own input. ``average`` and
    ``max`` pool 2 by 2 pixels. At the end stand the mean over all pixels and a linear classifier.
    """

    image: int
    channels: int
    layers: tuple[Entry, ...]
    classes: int

    def __post_init__(self) -> None:
        for name in ("image", "channels", "classes"):
            _check_size(name, getattr(self, name))
        if not self.layers or type(self.layers[0]) is not int or len(self.layers) > 200:
            raise InputError(
                "layers must be a list of 1 to 200 entries that begins with a number, "
                f"not {self.layers!r:.80}"
            )
        side = self.image
        for entry in self.layers:
            if type(entry) is int:
                _check_size("a layer's channels", entry)
            elif entry in (AVERAGE, MAXIMUM):
                if side % 2:
                    raise InputError(f"layers must not pool an odd side, but one of {side} is")
                side //= 2
            elif entry != RESIDUAL:
                allowed = f"a number, {AVERAGE!r}, {MAXIMUM!r} or {RESIDUAL!r}"
                raise InputError(f"layers must each be {allowed}, not {entry!r:.60}")
        if self.parameters > PARAMETER_LIMIT:
            raise InputError(
                f"a model may have at most {PARAMETER_LIMIT} parameters, not {self.parameters}"
            )

    @classmethod
    def from_mapping(cls, values: object) -> "ConvConfig":
        """Build from a plain mapping, such as parsed YAML or JSON; InputError when keys differ."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise InputError(f"model must have exactly the keys {names}, not {values!r:.120}")
        if not isinstance(values["layers"], list):
            raise InputError(f"layers must be a list, not {values['layers']!r:.80}")
        return cls(**{**values, "layers": tuple(values["layers"])})

    def to_mapping(self) -> dict[str, Any]:
        """Return the sizes as a plain mapping."""
        plain: dict[str, Any] = {field.name: getattr(self, field.name) for field in fields(self)}
        return plain | {"layers": list(self.layers)}

    @property
    def width(self) -> int:
        """Channels that the classifier takes."""
        return next(entry for entry in reversed(self.layers) if isinstance(entry, int))

    @property
    def units(self) -> tuple[tuple[WeightLayer, int], ...]:
        """Each convolution, in order, with the side of the image that it works on, in pixels."""
        found: list[tuple[WeightLayer, int]] = []
        side, inputs = self.image, self.channels
        for place, entry in enumerate(self.layers):
            if entry in (AVERAGE, MAXIMUM):
                side //= 2
                continue
            outputs = entry if isinstance(entry, int) else inputs
            within = BRANCH if entry == RESIDUAL else ("",)
            for part in within:
                name = ".".join(filter(None, ("layers", str(place), part, "conv")))
                layer = WeightLayer(name=name, inputs=inputs, outputs=outputs, kernel=KERNEL)
                found.append((layer, side))
            inputs = outputs
        return tuple(found)

    @property
    def weight_layers(self) -> tuple[WeightLayer, ...]:
        """All layers with weights in the order of the network."""
        head = WeightLayer(name="head", inputs=self.width, outputs=self.classes)
        return (*(layer for layer, _ in self.units), head)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one image, forward."""
        return self.width * self.classes + sum(
            layer.inputs * layer.outputs * KERNEL**2 * side**2 for layer, side in self.units
        )

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter, and of the running statistics, by name."""
        shapes: dict[str, tuple[int, ...]] = {}
        for layer, _ in self.units:
            norm = f"{layer.name.removesuffix('conv')}norm"
            shapes[f"{layer.name}.weight"] = (layer.outputs, layer.inputs, KERNEL, KERNEL)
            for name in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{norm}.{name}"] = (layer.outputs,)
        head = {"head.weight": (self.classes, self.width), "head.bias": (self.classes,)}
        return shapes | head

    @property
    def parameters(self) -> int:
        """Number of parameters; running statistics are none."""
        shapes = self.parameter_shapes.items()
        return sum(prod(shape) for name, shape in shapes if ".running_" not in name)


def _check_size(name: str, value: object) -> None:
    if type(value) is not int or not 1 <= value <= 4096:
        raise InputError(f"{name} must be an integer in 1..4096, not {value!r:.60}")


RESNET9_MNIST = ConvConfig(
    image=32,
    channels=1,
    layers=(16, AVERAGE, 32, AVERAGE, RESIDUAL, 64, AVERAGE, 64, RESIDUAL),
    classes=10,
)
