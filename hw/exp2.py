"""Powers of two: one lane of softmax."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.exp2 import (
    MANTISSA_BITS,
    POWER_FRACTION_BITS,
    guard_bits,
    mantissas,
    power_bits,
)
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.vector_timing import POWER_LATENCY

SHIFT_LOG2 = 6  # shifts up to 63, at least as long as any power is wide
COARSE_LOG2 = 3


class Exp2(wiring.Component):
    """Return ``models.exp2.exp2(x - reference, data_bits)``, and that rounded to a narrow value.

    One value a cycle, `LATENCY` cycles (one more for `narrow`), no back-pressure.

    Parameters
    ----------
    wide_bits, data_bits : int

    Members
    -------
    x : ``In(signed(wide_bits))``
    reference : ``In(signed(wide_bits + 1))``, at least `x` where `real` is set.
    real : ``In(1)``, the result is zero without it.
    power : ``Out(power_bits(data_bits))``
    narrow : ``Out(data_bits - 1)``, unsigned.
    """

    LATENCY = POWER_LATENCY

    def __init__(self, *, wide_bits: int, data_bits: int) -> None:
        self.wide_bits = wide_bits
        self.data_bits = data_bits
        super().__init__(
            {
                "x": In(signed(wide_bits)),
                "reference": In(signed(wide_bits + 1)),
                "real": In(1),
                "power": Out(power_bits(data_bits)),
                "narrow": Out(data_bits - 1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.rom = rom = Memory(
            shape=MANTISSA_BITS,
            depth=1 << SCORE_FRACTION_BITS,
            init=mantissas(self.data_bits).tolist(),
        )
        port = rom.read_port()

        # Cycle 1: difference; 2: table, and the shift with everything beyond 63 as 63.
        difference = Signal(signed(self.wide_bits + 2))
        m.d.sync += difference.eq(self.x - self.reference)
        m.d.comb += port.addr.eq(difference[:SCORE_FRACTION_BITS])
        whole = Signal(self.wide_bits + 2 - SCORE_FRACTION_BITS)
        shift = Signal(SHIFT_LOG2)
        m.d.comb += whole.eq(-difference[SCORE_FRACTION_BITS:].as_signed())
        m.d.sync += shift.eq(Mux(whole[SHIFT_LOG2:].any(), (1 << SHIFT_LOG2) - 1, whole))
        real = delay(m, self.real, 2, "real")

        # Cycle 3: shift by multiples of 8; 4: by 0..7.
        mantissa = Mux(real, port.data, 0) << guard_bits(self.data_bits)
        coarse = Signal(MANTISSA_BITS + guard_bits(self.data_bits))
        fine_shift = delay(m, shift[:COARSE_LOG2], 1, "fine_shift")
        m.d.sync += [
            coarse.eq(mantissa >> Cat(Const(0, COARSE_LOG2), shift[COARSE_LOG2:])),
            self.power.eq(coarse >> fine_shift),
        ]

        # Cycle 5: round half up. A power of zero is the largest narrow value exactly.
        m.d.sync += self.narrow.eq((self.power[POWER_FRACTION_BITS - 1 :] + 1)[1:])
        return m
