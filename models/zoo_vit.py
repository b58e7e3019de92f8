"""From weights with the names of timm and DeiT to a float network; sizes come from the shapes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Network,
    Norm,
)

Array = NDArray[np.float32]


class _State:
    """Weights by name; what is never asked for is refused at the end."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.weights

    def take(self, name: str, *shape: int | None) -> Array:
        """Return a weight; its shape must be `shape`, where None stands for any size."""
        if name not in self.weights:
            raise InputError(f"weight {name} is missing")
        value = np.asarray(self.weights[name])
        fits = len(value.shape) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, value.shape, strict=True)
        )
        if not fits or value.dtype.kind != "f" or not value.size:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise InputError(
                f"weight {name} must be float of shape ({wanted}), "
                f"not {value.dtype} of shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise InputError(f"weight {name} must be finite, but holds NaN or infinity")
        self.used.add(name)
        return value.astype(np.float32)

    def optional(self, name: str, *shape: int, default: float) -> Array:
        """Return a weight, or `default` everywhere where it is absent."""
        if name in self.weights:
            return self.take(name, *shape)
        return np.full(shape, default, dtype=np.float32)

    def linear(self, prefix: str, inputs: int, outputs: int | None = None) -> tuple[Array, Array]:
        """Return weight (inputs, outputs) and bias; a missing bias is zero."""
        weight = self.take(f"{prefix}.weight", outputs, inputs).T
        return weight, self.optional(f"{prefix}.bias", weight.shape[1], default=0.0)

    def norm(self, name: str, x: str, dim: int, epsilon: float, token: int | None = None) -> Norm:
        """Return the LayerNorm `name` of `x`."""
        gain = self.take(f"{name}.weight", dim)
        offset = self.optional(f"{name}.bias", dim, default=0.0)
        return Norm(name=name, x=x, gain=gain, offset=offset, epsilon=epsilon, token=token)


def _block(
    state: _State, prefix: str, x: str, *, dim: int, heads: int, epsilon: float, nm: NM | None
) -> list[Layer]:
    """Return the layers of one pre-norm block that reads the stream `x`."""
    attn, mlp = f"{prefix}.attn", f"{prefix}.mlp"
    norm1, norm2 = f"{prefix}.norm1", f"{prefix}.norm2"
    weight, bias = state.linear(f"{attn}.qkv", dim, 3 * dim)
    bias[dim : 2 * dim] = 0  # softmax does not see a constant per query
    parts = [np.ascontiguousarray(part) for part in np.split(weight, 3, axis=1)]
    fused = [
        Linear(name=f"{attn}.{letter}", x=norm1, weight=part, bias=part_bias, nm=nm)
        for letter, part, part_bias in zip("qkv", parts, np.split(bias, 3), strict=True)
    ]

    def scaled(name: str, inputs: int, scale_name: str, source: str) -> Linear:
        weight, bias = state.linear(name, inputs, dim)
        gain = state.optional(f"{prefix}.{scale_name}.gamma", dim, default=1.0)
        return Linear(name=name, x=source, weight=weight * gain, bias=bias * gain, nm=nm)

    fc1_weight, fc1_bias = state.linear(f"{mlp}.fc1", dim)
    return [
        state.norm(norm1, x, dim, epsilon),
        *fused,
        Attention(
            name=attn,
            q=f"{attn}.q",
            k=f"{attn}.k",
            v=f"{attn}.v",
            heads=heads,
            scale=(dim // heads) ** -0.5,
        ),
        scaled(f"{attn}.proj", dim, "ls1", attn),
        Add(name=f"{attn}.add", x=f"{attn}.proj", residual=x),
        state.norm(norm2, f"{attn}.add", dim, epsilon),
        Linear(name=f"{mlp}.fc1", x=norm2, weight=fc1_weight, bias=fc1_bias, nm=nm),
        Gelu(name=f"{mlp}.gelu", x=f"{mlp}.fc1"),
        scaled(f"{mlp}.fc2", fc1_weight.shape[1], "ls2", f"{mlp}.gelu"),
        Add(name=f"{mlp}.add", x=f"{mlp}.fc2", residual=f"{attn}.add"),
    ]


def _embedding(state: _State, image: int | None) -> tuple[list[Layer], int, int]:
    """Return the layers up to the stream's start, the number of patches and the channels."""
    kernel = state.take("patch_embed.proj.weight", None, None, None, None)
    dim, channels, patch, other = kernel.shape
    if patch != other:
        raise InputError(f"weight patch_embed.proj.weight must be square, not {kernel.shape}")
    extra = [name for name in ("dist_token", "cls_token") if name in state]
    positions = state.take("pos_embed", 1, None, dim)[0]
    patches = len(positions) - len(extra)
    side = patch * round(max(patches, 0) ** 0.5) if image is None else image
    if patches < 1 or (side // patch) ** 2 != patches:
        raise InputError(
            f"weight pos_embed has {len(positions)} tokens, which does not fit a square image "
            f"with patch {patch} and {len(extra)} extra tokens"
        )
    # Class token first, then distillation token, then patches: turned to have the class token last.
    turned = [positions[len(extra) :], *(positions[i : i + 1] for i in range(len(extra))[::-1])]
    table = np.concatenate(turned)
    for row, name in enumerate(extra):
        table[patches + row] += state.take(name, 1, 1, dim)[0, 0]
    layers: list[Layer] = [
        Image(name="image", channels=channels, height=side, width=side, patch=patch),
        Linear(
            name="patch_embed.proj",
            x="image",
            weight=np.ascontiguousarray(kernel.reshape(dim, -1).T),
            bias=state.optional("patch_embed.proj.bias", dim, default=0.0),
        ),
        Embed(name="embed", x="patch_embed.proj", table=table),
    ]
    return layers, patches, dim


def vit_network(
    name: str,
    weights: Mapping[str, NDArray[Any]],
    *,
    heads: int,
    image: int | None = None,
    epsilon: float = 1e-6,
    nm: NM | None = None,
) -> Network:
    """Return the network of a vision transformer of timm, DeiT or this project's training.

    `image` is the side in pixels, by default whole patches. With ``fc_norm`` the patches are
    averaged, otherwise the class token goes to the head. LayerScale is folded into the weights;
    the key's bias, which softmax cannot see, is dropped. `nm` marks the blocks' linear layers as
    pruned. Raises InputError for missing, unknown, misshapen or non-finite weights.
    """
    state = _State(weights)
    layers, patches, dim = _embedding(state, image)
    if type(heads) is not int or heads < 1 or dim % heads:
        raise InputError(f"heads must divide dim = {dim}, not {heads!r}")
    depth = 0
    while f"blocks.{depth}.norm1.weight" in state:
        layers += _block(
            state, f"blocks.{depth}", layers[-1].name, dim=dim, heads=heads, epsilon=epsilon, nm=nm
        )
        depth += 1
    if not depth:
        raise InputError("weight blocks.0.norm1.weight is missing")
    stream = layers[-1].name
    if "fc_norm.weight" in state:
        layers.append(MeanPool(name="pool", x=stream, tokens=patches))
        last = state.norm("fc_norm", "pool", dim, epsilon)
    elif "cls_token" in state:
        token = patches + int("dist_token" in state)
        last = state.norm("norm", stream, dim, epsilon, token)
    else:
        raise InputError("weights must have cls_token or fc_norm.weight, but have neither")
    head, bias = state.linear("head", dim)
    layers += [last, Linear(name="head", x=last.name, weight=head, bias=bias)]
    if unknown := sorted(set(weights) - state.used):
        raise InputError(f"weight {unknown[0]!r:.80} is not part of a vision transformer")
    return Network(name=name, layers=tuple(layers))
