"""Commands of the machine for training: its table of fields, packed as ``models.commands`` does.

A walk goes through rows of a tensor in X: tokens in a line, or the pixels that a tap of a
convolution reads. Pixel (image, y, x) of a grid of ``height`` by ``width`` stands for the place
``(y0 + y * stride, x0 + x * stride)`` of the tensor's image; outside it, operands are zero. All
of a walk is counted up: the host multiplies.
"""

from moesaic.models.commands import FIELDS, Command, Field, Fields, Unit
from moesaic.models.training.vector_fields import VECTOR_FIELDS

ADDRESS_BITS = 24
PLACE_BITS = 16

WALK = (
    Field("base", ADDRESS_BITS, "X: word of the walk's first row, modulo 2**24"),
    Field("pitch", ADDRESS_BITS, "words from a pixel to the next one beside it"),
    Field("row_step", ADDRESS_BITS, "words from a line's last pixel to the next line's first"),
    Field("image_step", ADDRESS_BITS, "words from an image's last pixel to the next image's first"),
    Field("width", PLACE_BITS, "pixels in a line; 0: all in one line"),
    Field("height", PLACE_BITS, "lines in an image; 0: all in one image"),
    Field("x", PLACE_BITS, "place of the first pixel in its image, modulo 2**16"),
    Field("y", PLACE_BITS, "line of the first pixel in its image, modulo 2**16"),
    Field("stride", 8, "places from a pixel to the next one, in both directions"),
    Field("last_x", PLACE_BITS, "last place inside the image; operands are zero beyond it"),
    Field("last_y", PLACE_BITS, "last line inside the image"),
)
"""Steps are modulo 2**24. A walk whose fields are all zero, but base and pitch, is a plain one."""

TRAINING_FIELDS: Fields = {
    Unit.LOAD: FIELDS[Unit.LOAD],
    Unit.STORE: FIELDS[Unit.STORE],
    Unit.STATIONARY: (
        Field("source_x", 1, "0 lines of W; 1 rows of a tensor in X, those of the walk"),
        Field("row_mode", 1, "X: 0 a row for a column of the array, 1 a row for a row of it"),
        Field("mode", 4, "W's format: 0 dense, else 1 + place in the spec's sparsity list"),
        Field("n_tiles", 16, "tiles along the outputs (outer loop)"),
        Field("k_tiles", 16, "tiles along the contraction (inner loop)"),
        Field("line_base", 24, "W: first line"),
        Field("index_base", 24, "W: word of the first line's places"),
        Field("position", 16, "X: value in a row's words where tile 0 begins"),
        Field("valid", 16, "X: rows that are real; what lies beyond is loaded as zero"),
        *WALK,
    ),
    Unit.STREAM: (
        Field("mode", 4, "format of the stationary operand, as in STATIONARY"),
        Field("beats", 16, "rows of the walk, at most psum_depth"),
        Field("n_tiles", 16, "tiles along the outputs (outer loop); 1 unless first and last"),
        Field("k_tiles", 16, "tiles along the contraction (inner loop)"),
        Field("position", 16, "value in a row's words where the contraction begins"),
        Field("first", 1, "sums begin; or go on from those of the command before"),
        Field("last", 1, "sums are written; or kept for the command behind"),
        Field("dest_base", ADDRESS_BITS, "P: word of the first result; the next tile's is behind"),
        Field("dest_pitch", ADDRESS_BITS, "words from a pixel's result to the next one's"),
        Field("dest_row_step", ADDRESS_BITS, "as row_step, in P"),
        Field("dest_image_step", ADDRESS_BITS, "as image_step, in P"),
        *WALK,
    ),
    Unit.VECTOR: VECTOR_FIELDS,
    Unit.END: (),
}
"""STREAM's walk is that of the tokens; STATIONARY's is that of the contraction in row mode, else
that of the outputs."""


def steps(
    prefix: str, *, width: int, height: int, pitch: int, row_pitch: int, image_pitch: int
) -> Command:
    """Return the steps of a grid of pixels from its pitches: a pixel's, a line's, an image's.

    Parameters
    ----------
    prefix : str
        Of the fields' names: empty, or ``dest_``.
    width, height : int
        Pixels in a line of the grid, lines in an image of it.
    pitch, row_pitch, image_pitch : int
        Words from one to the next of the grid; they may be negative.
    """
    row_step = row_pitch - (width - 1) * pitch
    image_step = image_pitch - (height - 1) * row_pitch - (width - 1) * pitch
    values = {"pitch": pitch, "row_step": row_step, "image_step": image_step}
    return {prefix + name: _modulo(value, ADDRESS_BITS) for name, value in values.items()}


def pixel_walk(
    *,
    base: int,
    width: int,
    height: int,
    pitch: int,
    row_pitch: int,
    image_pitch: int,
    dx: int,
    dy: int,
    stride: int,
    in_width: int,
    in_height: int,
) -> Command:
    """Return a walk's fields: that of one tap, (dy, dx), of a convolution.

    Parameters
    ----------
    base : int
        Word of the input's first pixel.
    width, height : int
        Size of the output: the grid that is walked.
    pitch, row_pitch, image_pitch : int
        Words from one pixel, line and image of the input to the next.
    dx, dy : int
        Place of the grid's first pixel in the input.
    stride : int
        Places in the input from a pixel of the grid to the next.
    in_width, in_height : int
        Size of the input.
    """
    grid = steps(
        "",
        width=width,
        height=height,
        pitch=stride * pitch,
        row_pitch=stride * row_pitch,
        image_pitch=image_pitch,
    )
    return grid | {
        "base": _modulo(base + dy * row_pitch + dx * pitch, ADDRESS_BITS),
        "width": width,
        "height": height,
        "x": _modulo(dx, PLACE_BITS),
        "y": _modulo(dy, PLACE_BITS),
        "stride": stride,
        "last_x": in_width - 1,
        "last_y": in_height - 1,
    }


def _modulo(value: int, bits: int) -> int:
    return value & ((1 << bits) - 1)
