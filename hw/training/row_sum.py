"""Sums of rows in fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_add import FloatAdd
from moesaic.hw.float_tree import FloatTree
from moesaic.models.float_format import FP32
from moesaic.models.float_timing import ADD
from moesaic.models.training.passes import PARTIALS
from moesaic.models.training.timing import MASK, row_sum_latency


class RowSum(wiring.Component):
    """Add the values of each row: ``models.training.passes.row_sums``.

    One beat a cycle, no back-pressure; a row's sum comes ``row_sum_latency(lanes)`` cycles after
    its last beat. A row's beats come in consecutive cycles, since a loop of PARTIALS cycles is the
    partial sums' only memory; rows may follow each other at once, those of one beat too.

    Parameters
    ----------
    lanes : int
        A power of two.

    Members
    -------
    valid, first, last : ``In(1)``, there is a beat; it is the first of its row, the last.
    enable : ``In(lanes)``, values that count; the others are +0.
    values : ``In(ArrayLayout(32, lanes))``
    sum_valid : ``Out(1)``
    sum : ``Out(32)``
    """

    def __init__(self, *, lanes: int) -> None:
        self.lanes = lanes
        self.LATENCY = row_sum_latency(lanes)
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "enable": In(lanes),
                "values": In(ArrayLayout(FP32.bits, lanes)),
                "sum_valid": Out(1),
                "sum": Out(FP32.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        minus_zero = Const(FP32.sign, FP32.bits)

        # One term a beat.
        m.submodules.beat = beat = FloatTree(rows=self.lanes)
        for lane in range(self.lanes):
            value = Signal(FP32.bits, name=f"value{lane}")
            m.d.sync += value.eq(Mux(self.enable[lane], self.values[lane], 0))
            m.d.comb += beat.terms[lane].eq(value)
        flags = Cat(self.first, self.valid & self.last)
        first, last = delay(m, flags, MASK + beat.LATENCY, "flags")

        # It is added to what left the loop PARTIALS cycles after it had entered.
        m.submodules.add = add = FloatAdd()
        before = Signal(range(PARTIALS + 1))  # beats of the row before this one, PARTIALS at most
        count = Signal(range(PARTIALS + 1))
        full = ~first & (before == PARTIALS)
        sums = [add.sum]  # as they were so many cycles ago
        for back in range(1, PARTIALS):
            sums.append(delay(m, sums[-1], 1, f"sum{back}"))
        m.d.comb += [
            count.eq(Mux(first, 1, Mux(full, PARTIALS, before + 1))),
            add.a.eq(Mux(full, sums[PARTIALS - ADD], minus_zero)),
            add.b.eq(beat.sum),
        ]
        m.d.sync += before.eq(count)

        # With the last beat's sum the others of the row are those of the cycles before.
        m.submodules.row = row = FloatTree(rows=PARTIALS)
        there = delay(m, count, ADD, "count")
        for back in range(PARTIALS):
            m.d.comb += row.terms[back].eq(Mux(there > back, sums[back], minus_zero))
        m.d.comb += [
            self.sum.eq(row.sum),
            self.sum_valid.eq(delay(m, last, ADD + row.LATENCY, "last")),
        ]
        return m
