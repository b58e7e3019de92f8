"""models.training.commands: packing by the machine's own table, and steps of walks."""

import numpy as np
import pytest

from moesaic.models.commands import COMMAND_BYTES, FIELDS, Unit, assemble, decode, encode, layout
from moesaic.models.training.commands import ADDRESS_BITS, TRAINING_FIELDS, pixel_walk, steps


@pytest.mark.parametrize("unit", [Unit.STATIONARY, Unit.STREAM], ids=str)
def test_commands_are_packed_by_their_table(unit: Unit) -> None:
    rng = np.random.default_rng(unit)
    command = {
        field.name: int(rng.integers(1 << field.width))
        for field, _ in layout(unit, TRAINING_FIELDS)
    } | {"unit": int(unit)}
    data = encode(command, TRAINING_FIELDS)
    assert len(data) == COMMAND_BYTES
    assert decode(data, TRAINING_FIELDS) == command
    assert bytes(assemble([command, command], TRAINING_FIELDS)) == 2 * data
    with pytest.raises(ValueError, match=f"{unit.name} commands have no field"):
        encode(command)


def test_copies_are_those_of_the_integer_machine() -> None:
    for unit in (Unit.LOAD, Unit.STORE):
        assert layout(unit, TRAINING_FIELDS) == layout(unit, FIELDS)


@pytest.mark.parametrize("pitch", [1, 3, -2])
def test_steps_add_up_to_pitches(pitch: int) -> None:
    images, height, width, row_pitch, image_pitch = 3, 2, 5, 40, -7
    fields = steps(
        "dest_",
        width=width,
        height=height,
        pitch=pitch,
        row_pitch=row_pitch,
        image_pitch=image_pitch,
    )
    word = 0
    for image, y, x in np.ndindex(images, height, width):
        wanted = image * image_pitch + y * row_pitch + x * pitch
        assert word == wanted % (1 << ADDRESS_BITS)
        ends = ["dest_pitch", "dest_row_step", "dest_image_step"]
        step = ends[(x == width - 1) + (x == width - 1 and y == height - 1)]
        word = (word + fields[step]) % (1 << ADDRESS_BITS)


def test_a_walk_begins_at_its_tap() -> None:
    walk = pixel_walk(
        base=100,
        width=2,
        height=2,
        pitch=3,
        row_pitch=12,
        image_pitch=48,
        dx=-1,
        dy=1,
        stride=2,
        in_width=4,
        in_height=4,
    )
    assert walk["base"] == 100 + 12 - 3
    assert (walk["x"], walk["y"], walk["last_x"], walk["last_y"]) == ((1 << 16) - 1, 1, 3, 3)
    assert (walk["pitch"], walk["row_step"]) == (6, 24 - 6)
