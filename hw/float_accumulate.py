"""Running fp32 sums of many outputs, interleaved so that the adder's latency leaves no bubble."""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_add import FloatAdd
from moesaic.models.float_format import FP32
from moesaic.models.float_timing import ACCUMULATE, PARTIAL_SUM_READ


class FloatAccumulate(wiring.Component):
    """Add each term to the running sum in its place: ``models.float_dot.accumulate`` of rows 1.

    One term a cycle, `LATENCY` cycles, no back-pressure. The same place must not come again within
    ``ACCUMULATE_GAP`` cycles: that many places, in turn, keep the adder busy.

    Parameters
    ----------
    depth : int
        Places.

    Members
    -------
    valid : ``In(1)``, there is a term.
    place : ``In(range(depth))``
    first : ``In(1)``, the sum begins: with -0, so that the term itself is the sum.
    term : ``In(32)``, due with the others.
    sum_valid, sum_place, sum : ``Out``, each new sum, last ones and those on the way alike.
    """

    LATENCY = ACCUMULATE

    def __init__(self, *, depth: int) -> None:
        self.depth = depth
        super().__init__(
            {
                "valid": In(1),
                "place": In(range(depth)),
                "first": In(1),
                "term": In(FP32.bits),
                "sum_valid": Out(1),
                "sum_place": Out(range(depth)),
                "sum": Out(FP32.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sums = sums = Memory(shape=FP32.bits, depth=self.depth, init=[])
        m.submodules.add = add = FloatAdd()
        read = sums.read_port()
        write = sums.write_port()
        first = Signal()
        m.d.sync += first.eq(self.first)
        m.d.comb += [
            read.addr.eq(self.place),
            add.a.eq(Mux(first, Const(FP32.sign, FP32.bits), read.data)),
            add.b.eq(delay(m, self.term, PARTIAL_SUM_READ, "term")),
            self.sum.eq(add.sum),
            self.sum_valid.eq(delay(m, self.valid, ACCUMULATE, "valid")),
            self.sum_place.eq(delay(m, self.place, ACCUMULATE, "place")),
            write.addr.eq(self.sum_place),
            write.data.eq(self.sum),
            write.en.eq(self.sum_valid),
        ]
        return m
