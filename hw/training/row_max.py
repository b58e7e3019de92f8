"""Maxima of rows in fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_maximum import FloatMaximum
from moesaic.models.float_format import FP32
from moesaic.models.float_timing import MAXIMUM
from moesaic.models.pipeline import log2
from moesaic.models.training.timing import MASK, row_max_latency

MINUS_INFINITY = FP32.sign | FP32.infinity


class RowMax(wiring.Component):
    """Find the largest value of each row: ``models.training.passes.row_maxima``.

    One beat a cycle, no back-pressure; a row's maximum comes ``row_max_latency(lanes)`` cycles
    after its last beat. A row's beats come in consecutive cycles; rows may follow each other at
    once.

    Parameters
    ----------
    lanes : int
        A power of two.

    Members
    -------
    valid, first, last : ``In(1)``, there is a beat; it is the first of its row, the last.
    enable : ``In(lanes)``, values that count; the others are minus infinity.
    values : ``In(ArrayLayout(32, lanes))``
    largest_valid : ``Out(1)``
    largest : ``Out(32)``, NaN if one is NaN.
    """

    def __init__(self, *, lanes: int) -> None:
        self.lanes = lanes
        self.LATENCY = row_max_latency(lanes)
        super().__init__(
            {
                "valid": In(1),
                "first": In(1),
                "last": In(1),
                "enable": In(lanes),
                "values": In(ArrayLayout(FP32.bits, lanes)),
                "largest_valid": Out(1),
                "largest": Out(FP32.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        nothing = Const(MINUS_INFINITY, FP32.bits)

        # One term a beat.
        level: list[Value] = []
        for lane in range(self.lanes):
            value = Signal(FP32.bits, name=f"value{lane}")
            m.d.sync += value.eq(Mux(self.enable[lane], self.values[lane], nothing))
            level.append(value)
        while len(level) > 1:
            pairs = zip(level[::2], level[1::2], strict=True)
            level = [
                self._largest(m, f"tree{len(level)}_{i}", a, b) for i, (a, b) in enumerate(pairs)
            ]
        flags = Cat(self.first, self.valid & self.last)
        first, last = delay(m, flags, MASK + MAXIMUM * log2(self.lanes), "flags")

        # It meets the maximum of the cycle before.
        so_far = Signal(FP32.bits)
        row = self._largest(m, "row", Mux(first, nothing, so_far), level[0])
        m.d.comb += [
            so_far.eq(row),
            self.largest.eq(row),
            self.largest_valid.eq(delay(m, last, MAXIMUM, "last")),
        ]
        return m

    def _largest(self, m: Module, name: str, a: Value, b: Value) -> Value:
        """Return the larger value, MAXIMUM cycles later."""
        m.submodules[name] = unit = FloatMaximum()
        m.d.comb += [unit.a.eq(a), unit.b.eq(b)]
        return unit.largest
