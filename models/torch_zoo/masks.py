"""N:M masks: of every M consecutive weights along the input dimension, N stay."""

from collections.abc import Mapping

import torch
from torch import Tensor

from moesaic.models.vit_config import VitConfig

_SPARSE_LAYERS = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def sparse_names(config: VitConfig) -> list[str]:
    """Return the parameters that N:M applies to: the four linear layers of every block."""
    return [f"blocks.{block}.{layer}" for block in range(config.depth) for layer in _SPARSE_LAYERS]


def nm_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Return the mask of the N largest magnitudes in each group of M inputs; ties keep the lowest.

    `weight` is (outputs, inputs) with M dividing inputs; the mask has its shape and type, 0 or 1.
    """
    if not 1 <= n <= m:
        raise ValueError(f"N must be in 1..{m}, not {n}")
    if weight.shape[-1] % m:
        raise ValueError(f"M must divide the {weight.shape[-1]} inputs, not {m}")
    size = weight.detach().abs().reshape(-1, m)
    mine, other = size.unsqueeze(2), size.unsqueeze(1)
    earlier = torch.ones(m, m, dtype=torch.bool).tril(-1)
    rank = ((other > mine) | ((other == mine) & earlier)).sum(dim=2)
    return (rank < n).to(weight.dtype).reshape(weight.shape)


def nm_masks(weights: Mapping[str, Tensor], config: VitConfig, n: int, m: int) -> dict[str, Tensor]:
    """Return `nm_mask` of each parameter that N:M applies to, by name."""
    return {name: nm_mask(weights[name], n, m) for name in sparse_names(config)}


def straight_through(weight: Tensor, mask: Tensor) -> Tensor:
    """Return the masked weight, with a gradient that reaches the pruned weights too.

    Zhou et al. 2021 (SR-STE), equation 7.
    """
    return weight + (weight * mask - weight).detach()
