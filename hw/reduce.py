"""Reduction over the lanes: a tree of sums or of maxima."""

from amaranth.hdl import Module, Mux, Shape, ShapeLike, Signal, Value, signed, unsigned
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.models.pipeline import log2


class Reduce(wiring.Component):
    """Return the sum, or the largest, of all lanes.

    One beat a cycle, ``latency`` cycles: a register for every two levels. No back-pressure.

    Parameters
    ----------
    lanes : int
        A power of two.
    shape : shape-like
        Of each operand.
    maximum : bool
        Largest instead of sum.

    Members
    -------
    i : ``In(ArrayLayout(shape, lanes))``
    o : ``Out``, `shape`, wider by the logarithm of `lanes` for a sum.
    """

    def __init__(self, *, lanes: int, shape: ShapeLike, maximum: bool = False) -> None:
        self.lanes = lanes
        self.maximum = maximum
        self.latency = (log2(lanes) + 1) // 2
        grow = 0 if maximum else log2(lanes)
        shape = Shape.cast(shape)
        make = signed if shape.signed else unsigned
        super().__init__({"i": In(ArrayLayout(shape, lanes)), "o": Out(make(shape.width + grow))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        level = [self.i[lane] for lane in range(self.lanes)]
        while len(level) > 1:
            registers = []
            for first in range(0, len(level), 4):
                group = level[first : first + 4]
                while len(group) > 1:
                    pairs = zip(group[::2], group[1::2], strict=True)
                    group = [self._join(a, b) for a, b in pairs]
                register = Signal(group[0].shape(), name=f"node_{len(level)}_{first}")
                m.d.sync += register.eq(group[0])
                registers.append(register)
            level = registers
        m.d.comb += self.o.eq(level[0])
        return m

    def _join(self, a: Value, b: Value) -> Value:
        return Mux(a > b, a, b) if self.maximum else a + b
