"""A walk through rows of a tensor: tokens in a line, or the pixels of a convolution's tap."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.training.commands import ADDRESS_BITS, PLACE_BITS, WALK

WALK_LAYOUT = data.StructLayout({field.name: field.width for field in WALK})


class Walk(wiring.Component):
    """Count up words of rows, and tell which rows lie outside the image.

    The first row is there in the cycle after `start`, the next in the cycle after each `step`.
    `start` goes before a `step` of the same cycle.

    Members
    -------
    start, fields : ``In(1)``, ``In(WALK_LAYOUT)``
        Begin a walk with these fields of a command; its first row is marked.
    step : ``In(1)``
        Go on to the next row.
    rewind : ``In(1)``
        With `step`: to the row that is marked, instead.
    mark : ``In(1)``
        With `step`: the next row is marked from now on.
    row : ``Out(16)``, counted from 0.
    word : ``Out(24)``
    outside : ``Out(1)``
    line_ends, image_ends : ``Out(1)``, the row is a line's last pixel, or an image's.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "fields": In(WALK_LAYOUT),
                "step": In(1),
                "rewind": In(1),
                "mark": In(1),
                "row": Out(PLACE_BITS),
                "word": Out(ADDRESS_BITS),
                "outside": Out(1),
                "line_ends": Out(1),
                "image_ends": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        state = data.StructLayout(
            {
                "row": PLACE_BITS,
                "word": ADDRESS_BITS,
                "column": PLACE_BITS,  # in the grid
                "line": PLACE_BITS,
                "x": PLACE_BITS,  # in the image
                "y": PLACE_BITS,
            }
        )
        c, new = Signal(WALK_LAYOUT), self.fields
        now, following, marked, first = (
            Signal(state, name=name) for name in ("now", "following", "marked", "first")
        )
        # A width of 0 is one line: no column is -1.
        m.d.comb += [
            self.line_ends.eq(now.column == c.width - 1),
            self.image_ends.eq(self.line_ends & (now.line == c.height - 1)),
            self.row.eq(now.row),
            self.word.eq(now.word),
            self.outside.eq((now.x > c.last_x) | (now.y > c.last_y)),
        ]
        line_step = Mux(self.image_ends, c.image_step, c.row_step)
        m.d.comb += [
            following.row.eq(now.row + 1),
            following.word.eq(now.word + Mux(self.line_ends, line_step, c.pitch)),
            following.column.eq(Mux(self.line_ends, 0, now.column + 1)),
            following.line.eq(Mux(self.image_ends, 0, now.line + self.line_ends)),
            following.x.eq(Mux(self.line_ends, c.x, now.x + c.stride)),
            following.y.eq(Mux(self.image_ends, c.y, now.y + Mux(self.line_ends, c.stride, 0))),
            first.word.eq(new.base),
            first.x.eq(new.x),
            first.y.eq(new.y),
        ]
        with m.If(self.step):
            m.d.sync += now.eq(Mux(self.rewind, marked, following))
            with m.If(self.mark):
                m.d.sync += marked.eq(following)
        with m.If(self.start):
            m.d.sync += [c.eq(new), now.eq(first), marked.eq(first)]
        return m
