"""Balanced tree of fp32 adders."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.float_add import FloatAdd
from moesaic.models.float_format import FP32
from moesaic.models.float_timing import tree_latency


class FloatTree(wiring.Component):
    """Return ``models.float_dot.tree_sum`` of `rows` terms: neighbours are added first.

    One beat a cycle, ``tree_latency(rows)`` cycles, no back-pressure.

    Parameters
    ----------
    rows : int
        A power of two; of one row the tree is a wire.

    Members
    -------
    terms : ``In(ArrayLayout(32, rows))``
    sum : ``Out(32)``
    """

    def __init__(self, *, rows: int) -> None:
        self.rows = rows
        self.LATENCY = tree_latency(rows)
        super().__init__({"terms": In(ArrayLayout(FP32.bits, rows)), "sum": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level = [self.terms[row] for row in range(self.rows)]
        depth = 0
        while len(level) > 1:
            sums = []
            for i, (a, b) in enumerate(zip(level[::2], level[1::2], strict=True)):
                m.submodules[f"add{depth}_{i}"] = adder = FloatAdd()
                m.d.comb += [adder.a.eq(a), adder.b.eq(b)]
                sums.append(adder.sum)
            level = sums
            depth += 1
        m.d.comb += self.sum.eq(level[0])
        return m
