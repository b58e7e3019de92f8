"""Transposition of square blocks."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.training.timing import transpose_latency


class Transpose(wiring.Component):
    """Take blocks of `lanes` rows of `lanes` values, give their columns.

    One row a cycle; column i of a block comes ``transpose_latency(lanes)`` cycles after its row i.
    No back-pressure. A block's rows come in consecutive cycles, blocks follow each other at once or
    later: cells move in every cycle, up in one block and left in the next, so that a block leaves
    by its columns while the next one comes in behind it.

    Parameters
    ----------
    lanes : int
        A power of two, at least 2.
    bits : int
        Of a value.

    Members
    -------
    valid : ``In(1)``, there is a row.
    row : ``In(ArrayLayout(bits, lanes))``
    column_valid : ``Out(1)``
    column : ``Out(ArrayLayout(bits, lanes))``
    """

    def __init__(self, *, lanes: int, bits: int) -> None:
        self.lanes = lanes
        self.bits = bits
        self.LATENCY = transpose_latency(lanes)
        layout = ArrayLayout(bits, lanes)
        super().__init__(
            {"valid": In(1), "row": In(layout), "column_valid": Out(1), "column": Out(layout)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        every = range(self.lanes)
        cells = [[Signal(self.bits, name=f"cell_{i}_{j}") for j in every] for i in every]
        count = Signal(range(self.lanes))  # wraps with each block
        left = Signal()  # cells move left, else up
        with m.If(self.valid):
            m.d.sync += count.eq(count + 1)
            with m.If(count == self.lanes - 1):
                m.d.sync += left.eq(~left)
        for i in every:
            for j in every:
                right = cells[i][j + 1] if j + 1 < self.lanes else self.row[i]
                below = cells[i + 1][j] if i + 1 < self.lanes else self.row[j]
                m.d.sync += cells[i][j].eq(Mux(left, right, below))
            m.d.sync += self.column[i].eq(Mux(left, cells[i][0], cells[0][i]))
        m.d.comb += self.column_valid.eq(delay(m, self.valid, self.LATENCY, "valid"))
        return m
