"""N:M masks: of every M consecutive weights along the input dimension, N stay."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

from moesaic.models.vit_config import VitConfig

_SPARSE_LAYERS = ("attn.qkv.weight", "attn.proj.weight", "mlp.fc1.weight", "mlp.fc2.weight")


def sparse_names(config: VitConfig) -> list[str]:
    """Return the parameters that N:M applies to: the four linear layers of every block."""
    return [f"blocks.{block}.{layer}" for block in range(config.depth) for layer in _SPARSE_LAYERS]


def group_mask(values: Tensor, n: int, m: int, dim: int) -> Tensor:
    """Return which of `values` are the N largest magnitudes of their group of M along `dim`.

    Of equal magnitudes the lowest index is kept. Where M does not divide the size, the last group
    is filled up with zeros, which never displace a value. The mask has the shape of `values`, bool.
    """
    size = values.detach().abs().movedim(dim, -1)
    length = size.shape[-1]
    filled = functional.pad(size, (0, -length % m), value=-1.0)
    groups = filled.reshape(-1, m).clone()
    mask = torch.zeros(groups.shape, dtype=torch.bool)
    for _ in range(n):
        best = groups.argmax(1, keepdim=True)  # the first of equals, as torch documents
        mask.scatter_(1, best, value=True)
        groups.scatter_(1, best, -1.0)
    return mask.reshape(filled.shape)[..., :length].movedim(-1, dim)


def nm_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Return the mask of the N largest magnitudes in each group of M inputs; ties keep the lowest.

    `weight` is (outputs, inputs) with M dividing inputs; the mask has its shape and type, 0 or 1.
    """
    if not 1 <= n <= m:
        raise ValueError(f"N must be in 1..{m}, not {n}")
    if weight.shape[-1] % m:
        raise ValueError(f"M must divide the {weight.shape[-1]} inputs, not {m}")
    return group_mask(weight, n, m, -1).to(weight.dtype)


def nm_masks(weights: Mapping[str, Tensor], config: VitConfig, n: int, m: int) -> dict[str, Tensor]:
    """Return `nm_mask` of each parameter that N:M applies to, by name."""
    return {name: nm_mask(weights[name], n, m) for name in sparse_names(config)}


def straight_through(weight: Tensor, mask: Tensor) -> Tensor:
    """Return the masked weight, with a gradient that reaches the pruned weights too.

    Zhou et al. 2021 (SR-STE), equation 7.
    """
    return weight + (weight * mask - weight).detach()
