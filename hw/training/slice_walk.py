"""Addresses of a tensor's slices, row by row or in blocks of rows."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.training.vector_fields import ADDRESS_BITS, PITCH_BITS


class SliceWalk(wiring.Component):
    """Follow the vector sequencer through a tensor: `address` is that of the present slice.

    Row by row, the slices of a row follow each other; behind a line's last row comes that of the
    next line. In blocks, the sequencer takes the rows of a
    block, then the same rows a slice further on.

    Members
    -------
    load, base, pitch, line : ``In``, begin with slice `base`; `pitch` and `line`, from row to row
        and from line to line, stay until the next load.
    blocks : ``In(1)``, the order is that of blocks; stable.
    step : ``In(1)``, go on, in the way that the marks of the present slice say:
    last_beat, last_row : ``In(1)``, of the row's slices; of the block's rows.
    first_beat : ``In(1)``, of the row's slices.
    line_ends : ``In(1)``, the row is a line's last.
    address : ``Out(24)``
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(1),
                "base": In(ADDRESS_BITS),
                "pitch": In(PITCH_BITS),
                "line": In(PITCH_BITS),
                "blocks": In(1),
                "step": In(1),
                "first_beat": In(1),
                "last_beat": In(1),
                "last_row": In(1),
                "line_ends": In(1),
                "address": Out(ADDRESS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pitch, line = Signal(PITCH_BITS), Signal(PITCH_BITS)
        start = Signal(ADDRESS_BITS)  # of the row, or of the block's first row
        below = Signal(ADDRESS_BITS)  # blocks: first row of the next block
        row = Signal(ADDRESS_BITS)
        step = Mux(self.line_ends, line, pitch)
        m.d.comb += row.eq(Mux(self.blocks, self.address, start) + step)
        with m.If(self.step):
            with m.If(~self.blocks):
                m.d.sync += self.address.eq(Mux(self.last_beat, row, self.address + 1))
                with m.If(self.last_beat):
                    m.d.sync += start.eq(row)
            with m.Else():
                with m.If(self.first_beat & self.last_row):
                    m.d.sync += below.eq(row)
                next_block = Mux(self.first_beat, row, below)
                with m.If(~self.last_row):
                    m.d.sync += self.address.eq(row)
                with m.Elif(self.last_beat):
                    m.d.sync += [self.address.eq(next_block), start.eq(next_block)]
                with m.Else():
                    m.d.sync += [self.address.eq(start + 1), start.eq(start + 1)]
        with m.If(self.load):
            m.d.sync += [
                self.address.eq(self.base),
                start.eq(self.base),
                pitch.eq(self.pitch),
                line.eq(self.line),
            ]
        return m
