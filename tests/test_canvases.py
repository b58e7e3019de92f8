"""Canvases: whose digits they show, that seeds fix them, and what their labels mean."""

from dataclasses import replace
from hashlib import sha256
from typing import Any

import numpy as np
import pytest

from moesaic.models import canvases
from moesaic.models.canvases import (
    BACKGROUND,
    BACKGROUND_DEPTH,
    LARGEST,
    MOST,
    SMALLEST,
    TEST,
    TRAIN,
    make_canvases,
    resize_matrix,
)
from moesaic.models.data import MEAN, STD, load_mnist
from moesaic.models.errors import InputError
from moesaic.models.float_run import cut_patches
from moesaic.models.network import Image

SQUARE = Image(name="image", channels=1, height=48, width=48, patch=6)
WIDE = Image(name="image", channels=3, height=128, width=256, patch=16)


@pytest.mark.parametrize("layer", [SQUARE, WIDE], ids=["square", "wide"])
def test_canvases_depend_on_seed_side_and_number_only(layer: Image) -> None:
    whole = make_canvases(layer, TRAIN, 6, seed=3)
    part = make_canvases(layer, TRAIN, 2, seed=3, first=4)
    np.testing.assert_array_equal(whole.images[4:], part.images)
    np.testing.assert_array_equal(whole.digits[4:], part.digits)
    np.testing.assert_array_equal(whole.depths[4:], part.depths)
    assert whole.images.shape == (6, layer.channels, layer.height, layer.width)
    assert whole.images.dtype == whole.depths.dtype == np.float32
    assert whole.digits.shape == whole.depths.shape == (6, layer.tokens)
    for other in (
        make_canvases(layer, TRAIN, 6, seed=4),
        make_canvases(layer, TEST, 6, seed=3),
    ):
        assert not np.array_equal(whole.images, other.images)


@pytest.mark.parametrize(("side", "hidden"), [(TRAIN, "test"), (TEST, "train")])
def test_the_other_sides_digits_are_never_read(
    monkeypatch: pytest.MonkeyPatch, side: str, hidden: str
) -> None:
    wanted = make_canvases(SQUARE, side, 3).images
    split = load_mnist()
    no_images, no_labels = np.empty((0, 1, 28, 28), np.float32), np.empty(0, np.int64)
    changes: dict[str, Any] = {f"{hidden}_images": no_images, f"{hidden}_labels": no_labels}
    blind = replace(split, **changes)
    canvases._digits.cache_clear()
    monkeypatch.setattr(canvases, "load_mnist", lambda: blind)
    np.testing.assert_array_equal(make_canvases(SQUARE, side, 3).images, wanted)
    canvases._digits.cache_clear()


@pytest.mark.parametrize("layer", [SQUARE, WIDE], ids=["square", "wide"])
def test_labels_have_their_ranges_and_go_together(layer: Image) -> None:
    made = make_canvases(layer, TRAIN, 40)
    background = made.digits == BACKGROUND
    np.testing.assert_array_equal(background, made.depths == BACKGROUND_DEPTH)
    assert np.unique(made.digits).tolist() == list(range(11))
    shown = made.depths[~background]
    assert 1 <= shown.min() < 1.1
    assert 1.5 < shown.max() <= LARGEST / SMALLEST + 0.05
    assert max(len(set(row)) for row in made.depths.tolist()) <= MOST * layer.width // 48 + 1
    assert 0.4 < background.mean() < 0.8
    ink = cut_patches(made.images * STD + MEAN, layer.patch).max(axis=-1)
    assert (ink[~background] > 0.1).all()
    assert abs(float(made.images.mean())) < 0.3
    assert 0.4 < float(made.images.std()) < 1.2


def test_nearer_ink_hides_farther_ink(monkeypatch: pytest.MonkeyPatch) -> None:
    """With digits that are all ink, patches inside a frame have its brightness and depth."""
    full = (np.ones((10, 28, 28)), np.arange(10))
    monkeypatch.setattr(canvases, "_digits", lambda _side: full)
    made = make_canvases(SQUARE, TRAIN, 30)
    hidden = same = 0
    for image, depths in zip(made.images, made.depths, strict=True):
        rows = cut_patches(image[None] * STD + MEAN, 6)[0]
        flat = rows.max(axis=1) - rows.min(axis=1) < 1e-6
        bright: dict[float, set[float]] = {}
        for row, depth in zip(rows[flat], depths[flat], strict=True):
            bright.setdefault(float(depth), set()).add(round(float(row[0]), 4))
        if any(len(values) > 1 for values in bright.values()):
            same += 1  # two digits at one depth
            continue
        assert bright[BACKGROUND_DEPTH] == {0.0}
        areas = {d: int((depths == d).sum()) for d in bright if d != BACKGROUND_DEPTH}
        nearest = min(areas)
        side = round(LARGEST * 48) / nearest
        hidden += sum(areas[d] < areas[nearest] for d in areas)
        assert areas[nearest] >= (side // 6 - 1) ** 2 // 2  # part may lie outside
    assert hidden > 20
    assert same < 8


@pytest.mark.parametrize("side", [14, 22, 28, 38, 102])
def test_resizing_keeps_brightness(side: int) -> None:
    matrix = resize_matrix(side)
    assert matrix.shape == (side, 28)
    np.testing.assert_allclose(matrix.sum(axis=1), 1, atol=1e-12)
    assert (matrix >= 0).all()
    ramp = matrix @ np.arange(28)
    centre = (np.arange(side) + 0.5) * 28 / side - 0.5
    inside = slice(side // 7, -(side // 7))
    np.testing.assert_allclose(ramp[inside], centre[inside], atol=0.3)


@pytest.mark.parametrize(
    ("layer", "side", "message"),
    [
        (SQUARE, "all", "side must be 'train' or 'test', not 'all'"),
        (replace(SQUARE, patch=0), TRAIN, "cut into whole patches, not 48 by 48 into 0 by 0"),
        (replace(SQUARE, patch=7), TRAIN, "cut into whole patches"),
        (replace(SQUARE, height=24, width=24), TRAIN, "at least 28 pixels high"),
        (replace(SQUARE, width=42), TRAIN, "as wide as high, not 48 by 42"),
    ],
)
def test_bad_canvases_are_refused(layer: Image, side: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_canvases(layer, side, 1)


@pytest.mark.parametrize(
    ("side", "seed", "wanted"),
    [
        (TRAIN, 1, "e7ab08bb271e7cdb6178878fe73b9b2c6b0cbf31623608c4435c254ce3608c59"),
        (TEST, 0, "d110dfa61ba2ba935a61393859276d7dd96950f8b7472d5ed2b4fa9e257d0ca6"),
    ],
)
def test_canvases_are_those_that_the_weights_were_trained_on(
    side: str, seed: int, wanted: str
) -> None:
    digits = make_canvases(SQUARE, side, 50, seed=seed).digits
    assert sha256(digits.tobytes()).hexdigest() == wanted
