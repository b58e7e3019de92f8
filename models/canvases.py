"""Canvases: real MNIST digits of several sizes and depths on one image, and what each patch shows.

Digits come from :mod:`moesaic.models.data`: those of training canvases from its training side,
those of test canvases from its test side. A digit's size follows from its depth, as a pinhole
camera sees it; its frame's corner lies on the grid of patches; nearer ink hides farther ink. Two
tasks are defined for each patch: task 0, which digit is there (or background); task 1, how far away
it is.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from moesaic.models.data import CLASSES, MEAN, STD, load_mnist
from moesaic.models.errors import InputError
from moesaic.models.network import Floats, Image

TRAIN, TEST = "train", "test"
BACKGROUND = CLASSES  # the class of a patch without a digit: 10
CANVAS_CLASSES = CLASSES + 1
BACKGROUND_DEPTH = 2.5
LARGEST, SMALLEST = 0.8, 0.45  # sides of digits over the canvas's height: depths 1 and 1.73
FEWEST, MOST = 2, 3  # digits on a square; twice as many where the canvas is twice as wide
INK = 0.3  # grey value of a digit's pixel from which it counts as ink
INK_SHARE = 1 / 12  # of a patch's pixels that a digit must ink to be what the patch shows
DIMMEST = 0.6  # brightness of digits is 0.6 to 1, whatever their depth
_TRIES = 4  # places drawn for a digit; it gets the one farthest from the others
_MARGIN = 1 / 7  # MNIST's digits leave 4 of 28 pixels free on each side: these may be cut off


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CanvasSet:
    """Canvases with the labels of both tasks, one label a patch, patches row by row.

    Parameters
    ----------
    images : Floats
        (N, channels, height, width), normalised as MNIST is: (grey - 0.1307) / 0.3081.
    digits : NDArray[np.int64]
        (N, patches), task 0: the digit whose visible ink covers most of the patch, 0 to 9; 10 for
        background, where no digit inks a twelfth of the patch.
    depths : Floats
        (N, patches), task 1: depth of that digit, in units of the depth at which a digit's 28 by 28
        frame has its largest side (0.8 of the canvas's height): 1 (near, large) to 1.73 (far
        and small); 2.5 for background.
    """

    images: Floats
    digits: NDArray[np.int64]
    depths: Floats

    def labels(self, task: int) -> NDArray[np.int64] | Floats:
        """Return the labels of a task, (N, patches)."""
        return self.depths if task else self.digits


@lru_cache(maxsize=64)
def resize_matrix(side: int) -> NDArray[np.float64]:
    """Return (side, 28), rows adding up to 1: linear interpolation, averaging where it shrinks."""
    support = max(1.0, 28 / side)
    centre = (np.arange(side) + 0.5) * 28 / side - 0.5
    weight = np.maximum(0.0, 1 - np.abs(centre[:, None] - np.arange(28)[None]) / support)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True))


@lru_cache(maxsize=2)
def _digits(side: str) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return grey digits in 0..1, (N, 28, 28), and their labels."""
    split = load_mnist()
    images, labels = (
        (split.test_images, split.test_labels)
        if side == TEST
        else (split.train_images, split.train_labels)
    )
    return np.clip(images[:, 0].astype(np.float64) * STD + MEAN, 0, 1), labels


def _places(rng: np.random.Generator, sides: NDArray[np.int64], layer: Image) -> NDArray[np.int64]:
    """Return the top left corner of each square, (digits, 2), far from each other."""
    corners = np.zeros((len(sides), 2), dtype=np.int64)
    for i, side in enumerate(sides):
        room = side - int(side * _MARGIN)
        steps = [(size - room) // layer.patch + 1 for size in (layer.height, layer.width)]
        places = layer.patch * rng.integers(0, steps, (_TRIES, 2))
        apart = (places + side / 2)[:, None] - (corners[:i] + sides[:i, None] / 2)
        gaps = np.hypot(apart[..., 0], apart[..., 1]) / (side + sides[:i])
        corners[i] = places[gaps.min(axis=1, initial=1).argmax()]
    return corners


def _draw(
    rng: np.random.Generator, layer: Image, source: tuple[NDArray[np.float64], NDArray[np.int64]]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return one canvas in grey, (channels, height, width), and digit and depth of each patch."""
    height, width, patch = layer.height, layer.width, layer.patch
    digits, labels = source
    count = int(rng.integers(FEWEST * width // height, MOST * width // height + 1))
    chosen = rng.integers(0, len(digits), count)
    sides = rng.integers(round(SMALLEST * height), round(LARGEST * height) + 1, count)
    order = np.argsort(sides, kind="stable")  # the farthest is painted first
    chosen, sides = chosen[order], sides[order]
    corners = _places(rng, sides, layer)
    bright = rng.uniform(DIMMEST, 1, (count, layer.channels))
    canvas = np.zeros((layer.channels, height, width))
    owner = np.full((height, width), count)
    for i, (y, x) in enumerate(corners):
        side = int(sides[i])
        rows, columns = resize_matrix(side), resize_matrix(side).T
        grey = rows @ digits[chosen[i]] @ columns
        grey = grey[: height - y, : width - x]
        window = (slice(y, y + grey.shape[0]), slice(x, x + grey.shape[1]))
        canvas[:, *window] += grey * (bright[i][:, None, None] - canvas[:, *window])
        owner[window][grey >= INK] = i
    down, right = height // patch, width // patch
    cells = owner.reshape(down, patch, right, patch).transpose(0, 2, 1, 3).reshape(down * right, -1)
    ink = (cells[..., None] == np.arange(count)).sum(axis=1)
    winner = ink.argmax(axis=1)
    shown = ink.max(axis=1) >= INK_SHARE * patch * patch
    depth = np.round(LARGEST * height) / sides
    return (
        canvas,
        np.where(shown, labels[chosen][winner], BACKGROUND),
        np.where(shown, depth[winner], BACKGROUND_DEPTH),
    )


def make_canvases(
    layer: Image, side: str, count: int, *, seed: int = 0, first: int = 0
) -> CanvasSet:
    """Return `count` canvases for the input `layer`, the same for the same seed.

    Parameters
    ----------
    layer : Image
        Height, width, channels and patch; patches are whole. Several channels show the same digits
        in different brightness, as colours do.
    side : {"train", "test"}
        Whose digits.
    count, first : int
        Canvas `first` and those after it; canvas ``i`` does not depend on either.
    seed : int
        Another seed makes other canvases of the same digits.
    """
    if side not in (TRAIN, TEST):
        raise InputError(f"side must be {TRAIN!r} or {TEST!r}, not {side!r:.60}")
    if not layer.patch or layer.height % layer.patch or layer.width % layer.patch:
        raise InputError(
            f"canvases must be cut into whole patches, not {layer.height} by {layer.width} "
            f"into {layer.patch} by {layer.patch}"
        )
    if layer.height < 28 or layer.width < layer.height:
        raise InputError(
            "canvases must be at least 28 pixels high and as wide as high, "
            f"not {layer.height} by {layer.width}"
        )
    source = _digits(side)
    stream = [seed, int(side == TEST)]
    drawn = [
        _draw(np.random.default_rng([*stream, i]), layer, source)
        for i in range(first, first + count)
    ]
    images = np.stack([canvas for canvas, _, _ in drawn])
    return CanvasSet(
        images=((images - MEAN) / STD).astype(np.float32),
        digits=np.stack([digit for _, digit, _ in drawn]).astype(np.int64),
        depths=np.stack([depth for _, _, depth in drawn]).astype(np.float32),
    )
