"""Random distortions of images, drawn from a generator."""

import math

import torch
from torch import Generator, Tensor
from torch.nn import functional

from moesaic.models.recipes import AugmentSpec

_COARSE = 5


def _uniform(count: int, bound: float, generator: Generator) -> Tensor:
    """Draw `count` values in -bound..bound."""
    return (torch.rand(count, generator=generator) * 2 - 1) * bound


def distort(images: Tensor, spec: AugmentSpec, background: float, generator: Generator) -> Tensor:
    """Rotate, scale, shear, shift and bend each image of (B, C, H, W); bilinear.

    What moves in from outside has the value `background`. The bend is a smooth displacement of at
    most a few pixels, `spec.elastic_pixels` being its deviation on a coarse 5 by 5 grid.
    """
    count, _, height, width = images.shape
    angle = _uniform(count, math.radians(spec.rotate_degrees), generator)
    zoom_x = torch.exp(_uniform(count, math.log1p(spec.scale), generator))
    zoom_y = torch.exp(_uniform(count, math.log1p(spec.scale), generator))
    shear = _uniform(count, spec.shear, generator)
    shift_x = _uniform(count, 2 * spec.shift_pixels / width, generator)
    shift_y = _uniform(count, 2 * spec.shift_pixels / height, generator)
    cos, sin = torch.cos(angle), torch.sin(angle)
    row_x = torch.stack([zoom_x * cos, zoom_x * (shear * cos - sin), shift_x], dim=1)
    row_y = torch.stack([zoom_y * sin, zoom_y * (shear * sin + cos), shift_y], dim=1)
    grid = functional.affine_grid(
        torch.stack([row_x, row_y], dim=1), list(images.shape), align_corners=False
    )
    coarse = torch.randn(count, 2, _COARSE, _COARSE, generator=generator)
    bend = functional.interpolate(
        coarse * (2 * spec.elastic_pixels / width),
        size=(height, width),
        mode="bicubic",
        align_corners=True,
    )
    moved = functional.grid_sample(
        images - background, grid + bend.permute(0, 2, 3, 1), align_corners=False
    )
    return moved + background
