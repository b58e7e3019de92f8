"""The shape of a multi-task vision transformer with experts, shared by torch, numpy and RTL."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from typing import Any

from moesaic.models.errors import InputError
from moesaic.models.routing import MAX_EXPERTS, MAX_TOP
from moesaic.models.vit_config import PARAMETER_LIMIT

MAX_TASKS = 8
_MAY_BE_ZERO = ("experts", "expert_hidden", "top")


@dataclass(frozen=True, slots=True, kw_only=True)
class MoeVitConfig:
    """Sizes of a pre-norm vision transformer for several tasks, with experts in odd blocks.

    Follows M3ViT (Fan et al. 2022, arXiv 2210.14793, section 3): in blocks 1, 3, 5 ... an expert
    layer stands in place of the perceptron, with one gate for each task and experts that the tasks
    share (V-MoE, Riquelme et al. 2021, section 2).

    Parameters
    ----------
    height, width, channels : int
        The image.
    patch : int
        Pixels a side of a patch; it divides height and width.
    class_token : bool
        Whether a token that is no patch is there as well; it is the last one.
    dim, depth, heads, mlp : int
        Features of a token, blocks, attention heads, features inside a dense perceptron.
    experts, expert_hidden, top : int
        Experts of an expert layer, features inside each, experts of a token; all zero for a
        network without experts.
    outputs : tuple of int
        Outputs of each task's head per token, a final norm before it; all zero for a network that
        ends with the residual stream of its last block.
    """

    height: int
    width: int
    channels: int
    patch: int
    class_token: bool
    dim: int
    depth: int
    heads: int
    mlp: int
    experts: int
    expert_hidden: int
    top: int
    outputs: tuple[int, ...]

    def __post_init__(self) -> None:
        if type(self.class_token) is not bool:
            raise InputError(f"class_token must be true or false, not {self.class_token!r:.60}")
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in ("class_token", "outputs"):
                continue
            low = int(field.name not in _MAY_BE_ZERO)
            if type(value) is not int or not low <= value <= 1 << 16:
                raise InputError(
                    f"{field.name} must be an integer in {low}..65536, not {value!r:.60}"
                )
        self._check_outputs()
        for name in ("height", "width"):
            if getattr(self, name) % self.patch:
                raise InputError(
                    f"patch must divide {name} = {getattr(self, name)}, not {self.patch}"
                )
        if self.dim % self.heads:
            raise InputError(f"heads must divide dim = {self.dim}, not {self.heads}")
        self._check_experts()
        if self.parameters > PARAMETER_LIMIT:
            raise InputError(
                f"a model may have at most {PARAMETER_LIMIT} parameters, not {self.parameters}"
            )

    def _check_outputs(self) -> None:
        good = isinstance(self.outputs, tuple) and 1 <= len(self.outputs) <= MAX_TASKS
        good = good and all(type(n) is int and 0 <= n <= 1 << 16 for n in self.outputs)
        if not good or any(self.outputs) != all(self.outputs):
            raise InputError(
                f"outputs must be 1 to {MAX_TASKS} integers in 1..65536, or all 0, "
                f"not {self.outputs!r:.60}"
            )

    def _check_experts(self) -> None:
        if not self.experts:
            if self.expert_hidden or self.top:
                raise InputError("expert_hidden and top must be 0 where experts is 0")
            return
        if not 2 <= self.experts <= MAX_EXPERTS:
            raise InputError(f"experts must be 0 or in 2..{MAX_EXPERTS}, not {self.experts}")
        if not 1 <= self.top <= min(MAX_TOP, self.experts):
            raise InputError(f"top must be in 1..{min(MAX_TOP, self.experts)}, not {self.top}")
        if not self.expert_hidden:
            raise InputError("expert_hidden must be at least 1 where there are experts, not 0")

    @classmethod
    def from_mapping(cls, values: object) -> "MoeVitConfig":
        """Build from a plain mapping, such as parsed YAML or JSON; InputError when keys differ."""
        names = [field.name for field in fields(cls)]
        if not isinstance(values, Mapping) or set(values) != set(names):
            raise InputError(f"model must have exactly the keys {names}, not {values!r:.120}")
        outputs = values["outputs"]
        if isinstance(outputs, list):
            outputs = tuple(outputs)
        return cls(**(dict(values) | {"outputs": outputs}))

    def to_mapping(self) -> dict[str, Any]:
        """Return the sizes as a plain mapping."""
        return asdict(self) | {"outputs": list(self.outputs)}

    @property
    def tasks(self) -> int:
        """Tasks, each with a head, and a gate in every expert layer."""
        return len(self.outputs)

    @property
    def headed(self) -> bool:
        """Whether there are a final norm and heads."""
        return any(self.outputs)

    @property
    def patches(self) -> int:
        """Tokens that are patches."""
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def tokens(self) -> int:
        """Patches, and the class token where there is one."""
        return self.patches + self.class_token

    @property
    def head_dim(self) -> int:
        """Features of one attention head."""
        return self.dim // self.heads

    def has_experts(self, block: int) -> bool:
        """Whether block `block`, counted from 0, has experts: odd ones, as in M3ViT."""
        return bool(self.experts) and block % 2 == 1

    def block_shapes(self, block: int) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter of a block, by its name inside the block."""
        shapes: dict[str, tuple[int, ...]] = {
            "norm1.weight": (self.dim,),
            "norm1.bias": (self.dim,),
            "attn.qkv.weight": (3 * self.dim, self.dim),
            "attn.qkv.bias": (3 * self.dim,),
            "attn.proj.weight": (self.dim, self.dim),
            "attn.proj.bias": (self.dim,),
            "norm2.weight": (self.dim,),
            "norm2.bias": (self.dim,),
        }
        if not self.has_experts(block):
            return shapes | {
                "mlp.fc1.weight": (self.mlp, self.dim),
                "mlp.fc1.bias": (self.mlp,),
                "mlp.fc2.weight": (self.dim, self.mlp),
                "mlp.fc2.bias": (self.dim,),
            }
        gates = {f"moe.gates.{k}.weight": (self.experts, self.dim) for k in range(self.tasks)}
        return (
            shapes
            | gates
            | {
                "moe.fc1.weight": (self.experts, self.dim, self.expert_hidden),
                "moe.fc1.bias": (self.experts, self.expert_hidden),
                "moe.fc2.weight": (self.experts, self.expert_hidden, self.dim),
                "moe.fc2.bias": (self.experts, self.dim),
            }
        )

    @property
    def outer_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of each parameter outside the blocks, by name.

        The last row of `pos_embed` is the class token with its position, where there is one.
        """
        shapes: dict[str, tuple[int, ...]] = {
            "pos_embed": (1, self.tokens, self.dim),
            "patch_embed.proj.weight": (self.dim, self.channels, self.patch, self.patch),
            "patch_embed.proj.bias": (self.dim,),
        }
        if not self.headed:
            return shapes
        shapes |= {"norm.weight": (self.dim,), "norm.bias": (self.dim,)}
        for task, outputs in enumerate(self.outputs):
            shapes[f"heads.{task}.weight"] = (outputs, self.dim)
            shapes[f"heads.{task}.bias"] = (outputs,)
        return shapes

    @property
    def parameter_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every parameter by its name."""
        blocks = {
            f"blocks.{block}.{name}": shape
            for block in range(self.depth)
            for name, shape in self.block_shapes(block).items()
        }
        return self.outer_shapes | blocks

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        outer = sum(map(prod, self.outer_shapes.values()))
        odd = self.depth // 2
        blocks = ((self.depth - odd, 0), (odd, 1))
        return outer + sum(n * sum(map(prod, self.block_shapes(b).values())) for n, b in blocks)

    def macs(self, task: int) -> int:
        """MACs of one image and one task, all tokens through their experts; the gates included."""
        square = self.dim * self.dim
        total = self.patches * self.channels * self.patch**2 * self.dim
        total += self.tokens * self.dim * self.outputs[task]
        for block in range(self.depth):
            total += self.tokens * (4 * square + 2 * self.tokens * self.dim)
            hidden = self.top * self.expert_hidden if self.has_experts(block) else self.mlp
            total += self.tokens * 2 * self.dim * hidden
            total += self.tokens * self.dim * self.experts * self.has_experts(block)
        return total


def _canvas(experts: int, expert_hidden: int, top: int) -> MoeVitConfig:
    """Return a network of 64 tokens for canvases of 48 by 48 pixels: digit and depth."""
    return MoeVitConfig(
        height=48,
        width=48,
        channels=1,
        patch=6,
        class_token=False,
        dim=64,
        depth=4,
        heads=4,
        mlp=128,
        experts=experts,
        expert_hidden=expert_hidden,
        top=top,
        outputs=(11, 1),
    )


def _m3vit(dim: int, heads: int) -> MoeVitConfig:
    """Return M3ViT as Edge-MoE builds it (Sarkar et al. 2023, arXiv 2305.18691): 129 tokens."""
    return MoeVitConfig(
        height=128,
        width=256,
        channels=3,
        patch=16,
        class_token=True,
        dim=dim,
        depth=12,
        heads=heads,
        mlp=4 * dim,
        experts=16,
        expert_hidden=2 * dim,
        top=2,
        outputs=(0, 0),
    )


MOEVIT_MNIST = _canvas(experts=8, expert_hidden=64, top=2)
DENSEVIT_CANVAS = _canvas(experts=0, expert_hidden=0, top=0)
M3VIT_TINY = _m3vit(192, 3)
M3VIT_SMALL = _m3vit(384, 6)
SEEDED_MOE_PRESETS = {"m3vit-tiny": M3VIT_TINY, "m3vit-small": M3VIT_SMALL}
