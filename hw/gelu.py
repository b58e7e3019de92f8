"""GELU: one lane, a table of segments and a product of a few bits."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.gelu import (
    SEGMENTS,
    SLOPE_BITS,
    STEP_LOG2,
    VALUE_BITS,
    VALUE_FRACTION_BITS,
    input_fraction,
    output_bits,
    output_fraction,
    table,
)


class Gelu(wiring.Component):
    """Return :func:`moesaic.models.gelu.gelu` of one wide value.

    One value a cycle, `LATENCY` cycles, no back-pressure.

    Parameters
    ----------
    wide_bits : int
        16 or 24.

    Members
    -------
    x : ``In(signed(wide_bits))``
    y : ``Out(signed(output_bits(wide_bits)))``
    """

    LATENCY = 5

    def __init__(self, *, wide_bits: int) -> None:
        self.wide_bits = wide_bits
        super().__init__(
            {
                "x": In(signed(wide_bits)),
                "y": Out(signed(output_bits(wide_bits))),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        offset_bits = input_fraction(self.wide_bits) - STEP_LOG2
        widen = output_fraction(self.wide_bits) - input_fraction(self.wide_bits)
        guard = output_fraction(self.wide_bits) - VALUE_FRACTION_BITS
        drop = offset_bits - guard
        values, slopes = (column.tolist() for column in table())
        slope_mask = (1 << SLOPE_BITS) - 1

        m.submodules.rom = rom = Memory(
            shape=VALUE_BITS + SLOPE_BITS,
            depth=SEGMENTS,
            init=[v | (s & slope_mask) << VALUE_BITS for v, s in zip(values, slopes, strict=True)],
        )
        port = rom.read_port()

        # Cycle 1: magnitude; 2: table; 3: product; 4: delta; 5: difference.
        magnitude = Signal(self.wide_bits)
        relu = Signal(self.wide_bits - 1)
        m.d.sync += [
            magnitude.eq(Mux(self.x < 0, -self.x, self.x)),
            relu.eq(Mux(self.x < 0, 0, self.x)),
        ]
        segment = magnitude[offset_bits:]
        m.d.comb += port.addr.eq(segment[: (SEGMENTS - 1).bit_length()])
        inside = delay(m, segment < SEGMENTS, 2, "inside")
        offset = delay(m, magnitude[:offset_bits], 1, "offset")

        value, slope = port.data[:VALUE_BITS], port.data[VALUE_BITS:].as_signed()
        value_late = delay(m, value, 1, "value")
        product = Signal(signed(SLOPE_BITS + offset_bits))
        delta = Signal(VALUE_BITS + guard)
        half = 1 << drop >> 1
        m.d.sync += [
            product.eq(slope * offset),
            delta.eq(Mux(inside, (value_late << guard) + ((product + half) >> drop), 0)),
            self.y.eq((delay(m, relu, 3, "relu") << widen) - delta),
        ]
        return m
