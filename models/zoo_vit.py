"""From weights with the names of timm and DeiT to a float network; sizes come from the shapes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.block_layers import WeightState, attention_layers, perceptron_layers
from moesaic.models.errors import InputError
from moesaic.models.network import (
    Embed,
    Image,
    Layer,
    Linear,
    MeanPool,
    Network,
)


def _embedding(state: WeightState, image: int | None) -> tuple[list[Layer], int, int]:
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
    state = WeightState(weights)
    layers, patches, dim = _embedding(state, image)
    if type(heads) is not int or heads < 1 or dim % heads:
        raise InputError(f"heads must divide dim = {dim}, not {heads!r}")
    depth = 0
    while f"blocks.{depth}.norm1.weight" in state:
        block, x = f"blocks.{depth}", layers[-1].name
        layers += attention_layers(state, block, x, dim=dim, heads=heads, epsilon=epsilon, nm=nm)
        layers += perceptron_layers(state, block, layers[-1].name, dim=dim, epsilon=epsilon, nm=nm)
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
