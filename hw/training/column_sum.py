"""Sums of columns in fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_add import FloatAdd
from moesaic.models.float_format import FP32
from moesaic.models.float_timing import ADD, PARTIAL_SUM_READ
from moesaic.models.training.timing import COLUMN_SUM


class ColumnSum(wiring.Component):
    """Add rows value by value: ``models.training.passes.column_sums``.

    One beat a cycle, `LATENCY` cycles, no back-pressure. A place must not come again within
    ``ACCUMULATE_GAP`` cycles, unless in a first row: the sequencer spaces rows of fewer beats.
    Gaps may be anywhere, and tensors may follow each other at once.

    Parameters
    ----------
    lanes : int
    depth : int
        Beats of the longest row.

    Members
    -------
    valid, first, last : ``In(1)``, there is a beat; it is of the first row, of the last.
    place : ``In(range(depth))``, of the beat in its row.
    values : ``In(ArrayLayout(32, lanes))``
    sum_valid : ``Out(1)``, with the sums of the last row.
    sum_place : ``Out(range(depth))``
    sums : ``Out(ArrayLayout(32, lanes))``
    """

    LATENCY = COLUMN_SUM

    def __init__(self, *, lanes: int, depth: int) -> None:
        self.lanes = lanes
        self.depth = depth
        layout = ArrayLayout(FP32.bits, lanes)
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "place": In(range(depth)),
                "values": In(layout),
                "sum_valid": Out(1),
                "sum_place": Out(range(depth)),
                "sums": Out(layout),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = FP32.bits * self.lanes
        m.submodules.memory = memory = Memory(shape=word, depth=self.depth, init=[])
        read, write = memory.read_port(), memory.write_port()
        first = delay(m, self.first, PARTIAL_SUM_READ, "first")
        values = delay(m, self.values.as_value(), PARTIAL_SUM_READ, "values")
        sums = Signal(word)
        adders = []
        for lane in range(self.lanes):
            m.submodules[f"add{lane}"] = add = FloatAdd()
            before = read.data.word_select(lane, FP32.bits)
            m.d.comb += [
                add.a.eq(Mux(first, Const(FP32.sign, FP32.bits), before)),
                add.b.eq(values.word_select(lane, FP32.bits)),
            ]
            adders.append(add.sum)

        late = delay(m, Cat(self.valid, self.last, self.place), PARTIAL_SUM_READ + ADD, "late")
        m.d.comb += [
            read.addr.eq(self.place),
            sums.eq(Cat(*adders)),
            write.en.eq(late[0]),
            write.addr.eq(late[2:]),
            write.data.eq(sums),
            self.sum_valid.eq(late[0] & late[1]),
            self.sum_place.eq(late[2:]),
            self.sums.as_value().eq(sums),
        ]
        return m
