"""Reciprocal, or reciprocal square root, of a positive integer."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.inverse import (
    GUARD_BITS,
    INPUT_BITS,
    RESULT_BITS,
    SEGMENTS,
    SLOPE_BITS,
    VALUE_BITS,
    reciprocal_table,
    root_table,
)
from moesaic.models.vector_timing import INVERSE_LATENCY

WIDTH_LOG2 = 6
OFFSET_BITS = INPUT_BITS - 1 - 7  # of the root's segments; the reciprocal's are half as long


class Inverse(wiring.Component):
    """Return ``models.inverse.inverse(x)``, or ``inverse_root(x)`` where `root` is set.

    One value a cycle, `LATENCY` cycles, no back-pressure.

    Parameters
    ----------
    in_bits : int
        Unsigned bits of `x`, at most 62.

    Members
    -------
    x : ``In(in_bits)``, at least 1.
    root : ``In(1)``
    mantissa : ``Out(18)``
    exponent : ``Out(6)``
    """

    LATENCY = INVERSE_LATENCY

    def __init__(self, *, in_bits: int) -> None:
        self.in_bits = in_bits
        super().__init__(
            {
                "x": In(in_bits),
                "root": In(1),
                "mantissa": Out(RESULT_BITS),
                "exponent": Out(WIDTH_LOG2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rom = rom = Memory(
            shape=VALUE_BITS + SLOPE_BITS, depth=2 * SEGMENTS, init=_words()
        )
        port = rom.read_port()
        width = 1 << WIDTH_LOG2

        # Cycles 1 to 3: move the leading one to the top, two steps a cycle.
        value = Cat(self.x, Const(0, width - self.in_bits))
        moved = Const(0, 0)
        for stage in range(3):
            for step in (32 >> 2 * stage, 16 >> 2 * stage):
                empty = ~value[-step:].any()
                value = Mux(empty, value << step, value)[:width]
                moved = Cat(empty, moved)
            value_register = Signal(width, name=f"value_{stage}")
            moved_register = Signal(2 * stage + 2, name=f"moved_{stage}")
            m.d.sync += [value_register.eq(value), moved_register.eq(moved)]
            value, moved = value_register, moved_register

        # Cycle 4: table; 5: product; 6: difference, rounded.
        root = delay(m, self.root, 3, "root")
        exponent = Signal(WIDTH_LOG2)
        m.d.comb += exponent.eq(~moved)
        below = value[-INPUT_BITS:-1]  # the mantissa without its leading one
        short = Cat(Const(0, 1), below[: OFFSET_BITS - 1])
        offset = Signal(OFFSET_BITS)
        m.d.sync += offset.eq(Mux(root, below[:OFFSET_BITS], short))
        m.d.comb += port.addr.eq(
            Cat(
                Mux(
                    root,
                    Cat(below[OFFSET_BITS:], exponent[0]),
                    below[OFFSET_BITS - 1 :],
                ),
                root,
            )
        )
        result_exponent = Mux(root, exponent >> 1, exponent)
        m.d.comb += self.exponent.eq(delay(m, result_exponent, 3, "exponent"))

        start = delay(m, port.data[:VALUE_BITS], 1, "start")
        product = Signal(SLOPE_BITS + OFFSET_BITS)
        m.d.sync += product.eq(port.data[VALUE_BITS:] * offset)
        exact = Signal(VALUE_BITS + 1)
        m.d.comb += exact.eq(start - product[OFFSET_BITS:] + 1)
        m.d.sync += self.mantissa.eq(
            Mux(exact[-1], (1 << RESULT_BITS) - 1, exact[GUARD_BITS:VALUE_BITS])
        )
        return m


def _words() -> list[int]:
    """Return the table: reciprocals, then reciprocal roots; the fall above the value."""
    return [
        value | fall << VALUE_BITS
        for values, falls in (reciprocal_table(), root_table())
        for value, fall in zip(values.tolist(), falls.tolist(), strict=True)
    ]
