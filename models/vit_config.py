"""The shape of a plain vision transformer, shared by its torch, numpy and RTL versions."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any, Protocol

from moesaic.models.errors import InputError
from moesaic.models.training_method import WeightLayer

PARAMETER_LIMIT = 1 << 28


class BlockSizes(Protocol):
    """What attention and perceptron of a block need to know."""

    @property
    def dim(self) -> int:
        """Features of a token."""

    @property
    def heads(self) -> int:
        """Attention heads."""

    @property
    def head_dim(self) -> int:
        """Features of one attention head."""

    @property
    def mlp(self) -> int:
        """Features inside the perceptron."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VitConfig:
    """Sizes of a pre-norm vision transformer with a class token.

    Square images of `image` pixels a side and `channels` planes are cut into patches of `patch`
    pixels a side; `depth` blocks of `heads` heads work on tokens of `dim` features, `mlp` features
    inside the perceptron. Follows Dosovitskiy et al. 2020 (ViT), section 3.1.
    """

    image: int
    channels: int
    patch: int
    dim: int
    depth: int
    heads: int
    mlp: int
    classes: int

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 1 <= value <= 1 << 16:
                raise InputError(f"{field.name} must be an integer in 1..65536, not {value!r:.60}")
        if self.image % self.patch:
            raise InputError(f"patch must divide image = {self.image}, not {self.patch}")
        if self.dim % self.heads:
            raise InputError(f"heads must divide dim = {self.dim}, not {self.heads}")
        if self.parameters > PARAMETER_LIMIT:
            raise InputError(
                f"a model may have at most {PARAMETER_LIMIT} parameters, not {self.parameters}"
            )

    @classmethod
    def from_mapping(cls, values: object) -> "VitConfig":
        """Build from a plain mapping, such as parsed YAML or JSON; InputError when keys differ."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise InputError(f"model must have exactly the keys {names}, not {values!r:.120}")
        return cls(**values)

    def to_mapping(self) -> dict[str, Any]:
        """Return the sizes as a plain mapping."""
        return asdict(self)

    @property
    def tokens(self) -> int:
        """Patches and the class token."""
        return (self.image // self.patch) ** 2 + 1

    @property
    def head_dim(self) -> int:
        """Features of one attention head."""
        return self.dim // self.heads

    @property
    def block_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of one block, by its name inside the block."""
        return {
            "norm1.weight": (self.dim,),
            "norm1.bias": (self.dim,),
            "attn.qkv.weight": (3 * self.dim, self.dim),
            "attn.qkv.bias": (3 * self.dim,),
            "attn.proj.weight": (self.dim, self.dim),
            "attn.proj.bias": (self.dim,),
            "norm2.weight": (self.dim,),
            "norm2.bias": (self.dim,),
            "mlp.fc1.weight": (self.mlp, self.dim),
            "mlp.fc1.bias": (self.mlp,),
            "mlp.fc2.weight": (self.dim, self.mlp),
            "mlp.fc2.bias": (self.dim,),
        }

    @property
    def outer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter outside the blocks, by name."""
        return {
            "cls_token": (1, 1, self.dim),
            "pos_embed": (1, self.tokens, self.dim),
            "patch_embed.proj.weight": (self.dim, self.channels, self.patch, self.patch),
            "patch_embed.proj.bias": (self.dim,),
            "norm.weight": (self.dim,),
            "norm.bias": (self.dim,),
            "head.weight": (self.classes, self.dim),
            "head.bias": (self.classes,),
        }

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by its DeiT name."""
        blocks = {
            f"blocks.{block}.{name}": shape
            for block in range(self.depth)
            for name, shape in self.block_shapes.items()
        }
        return self.outer_shapes | blocks

    @property
    def weight_layers(self) -> tuple[WeightLayer, ...]:
        """Layers with weights in the order of the network; patches are rows of their pixels."""
        pixels = self.channels * self.patch**2
        return (
            WeightLayer(name="patch_embed.proj", inputs=pixels, outputs=self.dim),
            *(
                WeightLayer(
                    name=f"blocks.{block}.{name.removesuffix('.weight')}", inputs=i, outputs=o
                )
                for block in range(self.depth)
                for name, (o, i) in _matrices(self.block_shapes)
            ),
            WeightLayer(name="head", inputs=self.dim, outputs=self.classes),
        )

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        outer = sum(map(prod, self.outer_shapes.values()))
        return outer + self.depth * sum(map(prod, self.block_shapes.values()))


def _matrices(shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    return [(name, shape) for name, shape in shapes.items() if len(shape) == 2]


def _deit(dim: int, heads: int) -> VitConfig:
    """Return a DeiT size for ImageNet (Touvron et al. 2020, table 1)."""
    return VitConfig(
        image=224, channels=3, patch=16, dim=dim, depth=12, heads=heads, mlp=4 * dim, classes=1000
    )


VIT_MNIST = VitConfig(image=28, channels=1, patch=4, dim=64, depth=4, heads=4, mlp=128, classes=10)
DEIT_TINY = _deit(192, 3)
DEIT_SMALL = _deit(384, 6)
VIT_PRESETS = {"vit-mnist": VIT_MNIST, "deit-tiny": DEIT_TINY, "deit-small": DEIT_SMALL}
