"""Comparison and maximum in fp32."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.float_format import FP32
from moesaic.models.float_timing import MAXIMUM


def is_nan(word: Value) -> Value:
    """Tell whether an fp32 pattern is a NaN."""
    return word[FP32.fraction_bits : -1].all() & word[: FP32.fraction_bits].any()


class FloatMaximum(wiring.Component):
    """Return ``models.float_arithmetic.maximum(a, b)`` and ``less(a, b)``.

    One a cycle, `LATENCY` cycles, no back-pressure.

    Members
    -------
    a, b : ``In(32)``
    largest : ``Out(32)``, NaN if one is NaN; +0 is larger than -0.
    less : ``Out(1)``, ``a < b``: 0 if one is NaN; zeros of both signs are equal.
    """

    LATENCY = MAXIMUM

    def __init__(self) -> None:
        word = FP32.bits
        super().__init__({"a": In(word), "b": In(word), "largest": Out(word), "less": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        below = Signal()  # in the order of the patterns' numbers, in which -0 is below +0
        magnitude_below = self.a[:-1] < self.b[:-1]
        magnitude_above = self.b[:-1] < self.a[:-1]
        m.d.comb += below.eq(
            Mux(
                self.a[-1] ^ self.b[-1],
                self.a[-1],
                Mux(self.a[-1], magnitude_above, magnitude_below),
            )
        )
        nan = is_nan(self.a) | is_nan(self.b)
        zeros = ~(self.a[:-1].any() | self.b[:-1].any())
        m.d.sync += [
            self.largest.eq(Mux(nan, FP32.nan, Mux(below, self.b, self.a))),
            self.less.eq(below & ~nan & ~zeros),
        ]
        return m
