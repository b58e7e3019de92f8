"""dataflow.places: whose tensors lie where, and when a place goes back."""

import pytest

from moesaic.dataflow.places import Places
from moesaic.dataflow.scratch import Scratch
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer

SPEC = AccelSpec(rows=8, columns=8, lanes=8, tokens_per_beat=2, bus_bytes=8, vec_words=64)
IMAGES, TOKENS, WIDTH = 3, 7, 16
WORDS = 4 * 2  # rows of an image, words of a row


def fresh() -> Places:
    return Places(Scratch(spec=SPEC), IMAGES)


def fill(places: Places, name: str) -> None:
    """Place a tensor of all images, one after another."""
    for image in range(IMAGES):
        places.image = image
        places[name] = places.give(Buffer.VEC, TOKENS, WIDTH, what=name, together=True)


def test_images_lie_side_by_side() -> None:
    places = fresh()
    fill(places, "x")
    bases = []
    for places.image in range(IMAGES):
        assert "x" in places
        assert places["x"].rows == 4
        bases.append(places["x"].base)
    assert bases == [0, WORDS, 2 * WORDS]
    places.image = None
    assert places["x"].span == ("VEC", 0, IMAGES * WORDS)
    assert "y" not in places


def test_a_place_goes_back_with_the_last_image() -> None:
    places = fresh()
    fill(places, "x")
    for places.image in range(IMAGES):
        assert places.scratch.live[Buffer.VEC] == [(0, IMAGES * WORDS)]
        places.release("x")
        assert "x" not in places
    assert places.scratch.live[Buffer.VEC] == []
    fill(places, "x")
    places.image = None
    places.release("x")
    assert places.scratch.live[Buffer.VEC] == []


def test_a_later_tensor_takes_the_place_of_an_earlier_one() -> None:
    """Image by image: the first image's new tensor comes while the others' old ones are there."""
    places = fresh()
    fill(places, "x")
    for places.image in range(IMAGES):
        was = places["x"].span
        places.release("x")
        places["y"] = places.give(Buffer.VEC, TOKENS, WIDTH, what="y", together=True)
        assert places["y"].span == was
    places.image = None
    assert places["y"].span == ("VEC", 0, IMAGES * WORDS)


def test_another_tensor_is_not_overwritten() -> None:
    places = fresh()
    fill(places, "x")
    fill(places, "y")
    places.image = 1
    assert places["x"].base != places["y"].base
    # the first image's tensor is gone, the second one's is not: lowering must treat both alike
    places.image = 0
    places.release("x")
    places["z"] = places.give(Buffer.VEC, TOKENS, WIDTH, what="z", together=True)
    places.image = 1
    with pytest.raises(RuntimeError, match="z: image 1 differs from those before it"):
        places.give(Buffer.VEC, TOKENS, WIDTH, what="z", together=True)


def test_a_sum_lies_where_what_it_is_added_to_lay() -> None:
    """All at once, a name moves on to the next tensor in every image."""
    places = fresh()
    fill(places, "x")
    places.image = None
    places["sum"] = places["x"]
    places.release("x")
    for places.image in range(IMAGES):
        assert places["sum"].base == places.image * WORDS
        assert "x" not in places
    places.image = None
    hidden = places.give(Buffer.ACT, IMAGES * 8, WIDTH, what="hidden")
    places["hidden"] = hidden
    assert places["hidden"] is hidden
    places.release("hidden")
    assert places.scratch.live[Buffer.ACT] == []
    assert places.scratch.live[Buffer.VEC] == [(0, IMAGES * WORDS)]
