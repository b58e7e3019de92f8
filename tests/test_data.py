"""The digits' split: which image is on which side, and that no image is on both."""

import numpy as np
import pytest

from moesaic.models.data import CLASSES, image_digests, load_mnist, split_checksum, split_indices

SPLIT_SHA256 = "3c33f3b4530b161fc5c33fa491a2d263e4fd9bca3b6e24b863fefa80f10a9662"


def test_split_is_the_one_that_the_weights_were_trained_on() -> None:
    assert split_checksum(load_mnist()) == SPLIT_SHA256


def test_shapes_types_and_classes() -> None:
    split = load_mnist()
    assert split.train_images.shape == (4000, 1, 28, 28)
    assert split.test_images.shape == (1000, 1, 28, 28)
    assert split.train_images.dtype == split.test_images.dtype == np.float32
    assert split.calibration_images.shape == (200, 1, 28, 28)
    assert np.bincount(split.train_labels).tolist() == [400] * CLASSES
    assert np.bincount(split.test_labels).tolist() == [100] * CLASSES
    assert abs(float(split.train_images.mean())) < 0.02
    assert abs(float(split.train_images.std()) - 1) < 0.02


def test_no_test_image_is_in_training() -> None:
    split = load_mnist()
    train, test = image_digests(split.train_images), image_digests(split.test_images)
    assert not set(train) & set(test)
    assert len(set(test)) == 1000


def test_repeated_images_stay_in_training() -> None:
    rng = np.random.default_rng(3)
    pixels = rng.integers(0, 256, (1500, 784)).astype(np.uint8)
    pixels[1000:1300] = pixels[:300]
    train, test = split_indices(pixels, np.arange(1500) % CLASSES)
    assert not set(image_digests(pixels[train])) & set(image_digests(pixels[test]))
    assert sorted([*train, *test]) == list(range(1500))
    assert not set(test) & {*range(300), *range(1000, 1300)}


def test_split_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        load_mnist().train_images[0] = 0
