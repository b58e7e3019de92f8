"""Line walk: the buffer side of a copy, one bus beat after another."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.buffer_port import BUFFER_BITS, LINE_BITS


class LineWalk(wiring.Component):
    """Count through the lines of a strided copy.

    The first line is there in the cycle after ``start``, the next in the cycle after each
    ``step``. ``start`` is allowed while idle and together with the ``step`` of the last line.

    Members
    -------
    start : ``In(1)``
        Begin a copy with the five fields below, as in commands.
    start_buffer, start_line, line_pitch : ``In(4)``, ``In(24)``, ``In(16)``
    rows, row_beats : ``In(16)``, ``In(16)``
    step : ``In(1)``
        The present line is taken.
    active : ``Out(1)``
        There is a line.
    buffer, line : ``Out(4)``, ``Out(24)``
    last : ``Out(1)``
        This is the last line of the copy.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "start_buffer": In(BUFFER_BITS),
                "start_line": In(LINE_BITS),
                "line_pitch": In(16),
                "rows": In(16),
                "row_beats": In(16),
                "step": In(1),
                "active": Out(1),
                "buffer": Out(BUFFER_BITS),
                "line": Out(LINE_BITS),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        row_line = Signal(LINE_BITS)
        pitch = Signal(16)
        left = Signal(16)
        row_beats = Signal(16)
        rows_left = Signal(16)

        row_ends = left == 1
        next_row = Signal(LINE_BITS)
        m.d.comb += [
            self.last.eq(row_ends & (rows_left == 1)),
            next_row.eq(row_line + pitch),
        ]

        with m.If(self.step):
            with m.If(row_ends):
                m.d.sync += [
                    self.line.eq(next_row),
                    row_line.eq(next_row),
                    left.eq(row_beats),
                    rows_left.eq(rows_left - 1),
                ]
            with m.Else():
                m.d.sync += [self.line.eq(self.line + 1), left.eq(left - 1)]
            with m.If(self.last):
                m.d.sync += self.active.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.active.eq(1),
                self.buffer.eq(self.start_buffer),
                self.line.eq(self.start_line),
                row_line.eq(self.start_line),
                pitch.eq(self.line_pitch),
                left.eq(self.row_beats),
                row_beats.eq(self.row_beats),
                rows_left.eq(self.rows),
            ]
        return m
