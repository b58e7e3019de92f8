"""Small real images with labels, at the side that a network takes: MNIST and 8 by 8 digits."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from moesaic.models.data import MEAN, STD, load_mnist, split_indices

MNIST, DIGITS = "mnist", "digits"
SIDES = {MNIST: (28, 32), DIGITS: (8,)}
CLASSES = 10
DIGITS_MEAN, DIGITS_STD = 0.3053, 0.3760  # of all pixels, 0..16 taken as 0..1
DIGITS_TEST_PER_CLASS = 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ImageSplit:
    """Normalised images, float32 (N, 1, side, side), and labels, int64 (N,); arrays are read-only.

    `background` is the value of a pixel without ink.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]
    background: float


@lru_cache(maxsize=4)
def load_images(dataset: str, side: int) -> ImageSplit:
    """Load ``mnist`` (4,000 and 1,000 images; side 28, or 32 with two pixels of background around).

    Or ``digits`` (1,497 and 300; side 8), those of scikit-learn, split as MNIST is: by a salted
    digest of each image.
    """
    if side not in SIDES.get(dataset, ()):
        raise ValueError(f"images must be of {SIDES}, not {dataset} {side}")
    split = _mnist(side) if dataset == MNIST else _digits()
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        getattr(split, name).flags.writeable = False
    return split


def _mnist(side: int) -> ImageSplit:
    split, background = load_mnist(), -MEAN / STD
    edge = (side - 28) // 2
    around = ((0, 0), (0, 0), (edge, edge), (edge, edge))
    images = [
        np.pad(part, around, constant_values=np.float32(background))
        for part in (split.train_images, split.test_images)
    ]
    return ImageSplit(
        train_images=images[0],
        train_labels=split.train_labels,
        test_images=images[1],
        test_labels=split.test_labels,
        background=background,
    )


def _digits() -> ImageSplit:
    from sklearn.datasets import load_digits

    table, labels = load_digits(return_X_y=True)
    pixels, labels = table.astype(np.uint8), labels.astype(np.int64)
    unit = pixels.reshape(-1, 1, 8, 8).astype(np.float32) / np.float32(16)
    images = (unit - np.float32(DIGITS_MEAN)) / np.float32(DIGITS_STD)
    train, test = split_indices(pixels, labels, DIGITS_TEST_PER_CLASS)
    return ImageSplit(
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        background=-DIGITS_MEAN / DIGITS_STD,
    )
