"""Which patches of the image a matrix of pixels is, in whatever order rows and columns come."""

import numpy as np

from moesaic.models.importing.program import UnsupportedError
from moesaic.models.importing.values import ImageBase, Index, ValueBase, View, identity_index
from moesaic.models.network import Image

IMAGE = "image"


def patch_rows(channels: int, height: int, width: int, patch: int) -> Index:
    """Return the pixel of each element of the rows that an Image layer makes."""
    pixels = identity_index((channels, height, width))
    down, right = height // patch, width // patch
    grid = pixels[:, : down * patch, : right * patch].reshape(channels, down, patch, right, patch)
    return grid.transpose(1, 3, 0, 2, 4).reshape(down * right, channels * patch * patch)


def image_layer(base: ImageBase, values: int) -> Image:
    """Return the Image layer whose rows have `values` values."""
    channels, height, width = base.shape
    patch = round((values / channels) ** 0.5)
    if channels * patch * patch != values or not 1 <= patch <= min(height, width):
        raise UnsupportedError("reads the image otherwise than by square patches")
    return Image(name=IMAGE, channels=channels, height=height, width=width, patch=patch)


def view_of_patches(x: View, layer: Image) -> View:
    """Return the matrix `x` of pixels as a view of the rows of `layer`."""
    rows = patch_rows(layer.channels, layer.height, layer.width, layer.patch)
    position = np.full(layer.channels * layer.height * layer.width, -1, dtype=np.int32)
    position[rows] = identity_index(rows.shape)
    index = np.where(x.index < 0, np.int32(-1), position[x.index])
    if ((index < 0) & (x.index >= 0)).any():
        raise UnsupportedError("reads the image otherwise than by whole patches")
    return View(ValueBase(rows.shape, IMAGE), index, x.gain, x.offset)
