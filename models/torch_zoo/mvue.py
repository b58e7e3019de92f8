"""Pruning at random, without bias and with the least variance: the sparse weight update's choice.

Of each group of M values, at most N stay, value i with the chance pᵢ and divided by it. Its
expectation is the value; the variance, the sum of aᵢ²(1/pᵢ - 1), is least where pᵢ is proportional
to the magnitude aᵢ, but at most 1, and the chances add up to N (Chmiel et al. 2022, arXiv
2203.10991, section 4; used for the weight update in Hu et al. 2024, arXiv 2404.01847, section 4.1).
One uniform number decides for a whole group: with the chances laid end to end, the N values whose
intervals hold u, u + 1, ... stay, which keeps exactly N and gives each its chance.
"""

import torch
from torch import Generator, Tensor
from torch.nn import functional


def chances(groups: Tensor, n: int) -> Tensor:
    """Return the chance of each value of (..., M) to stay, in float64; 0 for zeros.

    They add up to N, or to the number of values that are not zero where that is less.
    """
    size = groups.detach().abs().double()
    certain = torch.zeros(size.shape, dtype=torch.bool)
    chance = torch.zeros_like(size)
    for _ in range(n):
        rest = size.masked_fill(certain, 0.0)
        total = rest.sum(-1, keepdim=True)
        left = n - certain.sum(-1, keepdim=True)
        share = torch.where(total > 0, rest * left / total.clamp_min(1e-300), torch.zeros(()))
        chance = torch.where(certain, torch.ones(()).double(), share)
        certain = certain | (share >= 1)
    return torch.where(certain, torch.ones(()).double(), chance)


def sample(groups: Tensor, n: int, generator: Generator) -> Tensor:
    """Return (..., M) groups of which at most N values, drawn and weighed, are not zero."""
    chance = chances(groups, n)
    end = chance.cumsum(-1).clamp_max(n)
    start = end - chance
    u = torch.rand((*groups.shape[:-1], 1), generator=generator, dtype=torch.float64)
    kept = (end - u).ceil() > (start - u).ceil()  # the interval holds one of u, u + 1, ...
    weighed = groups / torch.where(chance > 0, chance, torch.ones(()).double()).to(groups.dtype)
    return torch.where(kept, weighed, torch.zeros((), dtype=groups.dtype))


def sample_along(values: Tensor, n: int, m: int, dim: int, generator: Generator) -> Tensor:
    """Return `values` with groups of M along `dim` sampled; the last group is filled with zeros."""
    moved = values.detach().movedim(dim, -1)
    length = moved.shape[-1]
    filled = functional.pad(moved, (0, -length % m))
    drawn = sample(filled.reshape(-1, m), n, generator).reshape(filled.shape)
    return drawn[..., :length].movedim(-1, dim)
