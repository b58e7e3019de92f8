"""Requantiser: multiply, shift with rounding half to even, saturate."""

from amaranth.hdl import Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.round_shift import RoundShift
from moesaic.models.requant import MULTIPLIER_BITS, SHIFT_BITS

DSP_BITS = 27  # the wider operand of a DSP48E2


class Requant(wiring.Component):
    """Return ``models.requant.requant(acc, multiplier, shift, out_bits)``.

    One value a cycle, `LATENCY` cycles, no back-pressure. An accumulator beyond 27 bits takes two
    multipliers, joined in the second cycle.

    Parameters
    ----------
    acc_bits, out_bits : int
        Signed bits of the accumulator (with its bias) and of the result.

    Members
    -------
    acc : ``In(signed(acc_bits))``
    multiplier : ``In(16)``
    shift : ``In(6)``
    result : ``Out(signed(out_bits))``
    """

    LATENCY = 2 + RoundShift.LATENCY

    def __init__(self, *, acc_bits: int, out_bits: int) -> None:
        self.acc_bits = acc_bits
        self.out_bits = out_bits
        super().__init__(
            {
                "acc": In(signed(acc_bits)),
                "multiplier": In(MULTIPLIER_BITS),
                "shift": In(SHIFT_BITS),
                "result": Out(signed(out_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        product_bits = self.acc_bits + MULTIPLIER_BITS
        m.submodules.round_shift = round_shift = RoundShift(
            in_bits=product_bits, out_bits=self.out_bits
        )
        product = Signal(signed(product_bits))
        m.d.sync += product.eq(self._products(m))
        m.d.comb += [
            round_shift.value.eq(product),
            round_shift.shift.eq(delay(m, self.shift, 2, "shift")),
            self.result.eq(round_shift.result),
        ]
        return m

    def _products(self, m: Module) -> Value:
        """Multiply in one cycle; return the sum of the products, yet without a register."""
        if self.acc_bits <= DSP_BITS:
            whole = Signal(signed(self.acc_bits + MULTIPLIER_BITS))
            m.d.sync += whole.eq(self.acc * self.multiplier)
            return whole
        split = self.acc_bits // 2 + 1
        lower = Signal(split + MULTIPLIER_BITS)
        upper = Signal(signed(self.acc_bits - split + MULTIPLIER_BITS))
        m.d.sync += [
            lower.eq(self.acc[:split] * self.multiplier),
            upper.eq(self.acc[split:].as_signed() * self.multiplier),
        ]
        return (upper << split) + lower
