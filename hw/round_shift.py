"""Rounding right shift with saturation: the last step of every requantisation."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.requant import SHIFT_BITS, limits

COARSE_LOG2 = 3  # shifts by multiples of 8 come first, then those by 0..7


def differs_above(value: Value, near: int, coarse: Value) -> Value:
    """Return whether a bit of ``value >> 8 * coarse`` from bit `near` on is not its sign.

    That is all that saturation asks of these bits, so the shifters need not bring them down.
    """
    uppers = [value[near + step :] for step in range(0, 1 << SHIFT_BITS, 1 << COARSE_LOG2)]
    differ = Cat(*((upper ^ value[-1].replicate(len(upper))).any() for upper in uppers))
    return differ.bit_select(coarse, 1)


class RoundShift(wiring.Component):
    """Return ``saturate(round_half_even(value / 2**shift))``, as ``models.requant`` says.

    One value a cycle, `LATENCY` cycles, no back-pressure.

    Parameters
    ----------
    in_bits, out_bits : int
        Signed bits of value and result.

    Members
    -------
    value : ``In(signed(in_bits))``
    shift : ``In(6)``, any amount: beyond the value's width the result is zero.
    result : ``Out(signed(out_bits))``
    """

    LATENCY = 4

    def __init__(self, *, in_bits: int, out_bits: int) -> None:
        self.in_bits = in_bits
        self.out_bits = out_bits
        super().__init__(
            {
                "value": In(signed(in_bits)),
                "shift": In(SHIFT_BITS),
                "result": Out(signed(out_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        low, high = limits(self.out_bits)
        width = self.in_bits + 1  # with the bit of the half below
        near = min(width - 1, self.out_bits + (1 << COARSE_LOG2))  # bits of the result

        # Cycles 1 and 2: shift, and remember whether a one was dropped below the half.
        halves = Signal(signed(width))
        m.d.comb += halves.eq(self.value << 1)
        coarse, dropped_coarse = self._stage(
            m,
            halves,
            keep=near,
            dropped=0,
            shift=self.shift,
            places=range(COARSE_LOG2, SHIFT_BITS),
            name="coarse",
        )
        sign = Signal()
        far = Signal()
        fine_shift = Signal(COARSE_LOG2)
        m.d.sync += [
            sign.eq(halves[-1]),
            far.eq(differs_above(halves, near, self.shift[COARSE_LOG2:])),
            fine_shift.eq(self.shift[:COARSE_LOG2]),
        ]
        shifted, dropped = self._stage(
            m,
            Cat(coarse, sign).as_signed(),
            keep=near + 1,
            dropped=dropped_coarse,
            shift=fine_shift,
            places=range(COARSE_LOG2),
            name="fine",
        )

        # Cycle 3: round, and see what does not fit. Only the kept bits take part in the sum.
        quotient = shifted >> 1
        round_up = shifted[0] & (dropped | quotient[0])
        rounded = Signal(signed(self.out_bits + 1))
        above = Signal()
        below = Signal()
        far_late = Signal()
        upper = shifted[:-1][self.out_bits :]  # from the result's sign upwards
        m.d.sync += [
            far_late.eq(far),
            rounded.eq(quotient[: self.out_bits].as_signed() + round_up),
            above.eq(~shifted[-1] & (far_late | upper.any())),
            below.eq(shifted[-1] & (far_late | ~upper.all())),
        ]

        # Cycle 4: saturate. Rounding may reach one above the largest value, never below.
        m.d.sync += self.result.eq(
            Mux(above | (~below & (rounded > high)), high, Mux(below, low, rounded))
        )
        return m

    @staticmethod
    def _stage(
        m: Module,
        value: Value,
        *,
        keep: int,
        dropped: object,
        shift: Value,
        places: range,
        name: str,
    ) -> tuple[Signal, Signal]:
        """Shift by the bits of `shift` at `places`, largest first; register the lower `keep`."""
        for place in reversed(places):
            amount = 1 << place
            lost = value[: min(amount, len(value))].any()
            dropped = dropped | (shift[place] & lost)
            moved = Signal(signed(len(value)), name=f"{name}_by_{amount}")
            m.d.comb += moved.eq(Mux(shift[place], value >> amount, value))
            value = moved
        register = Signal(signed(keep), name=name)
        flag = Signal(name=f"{name}_dropped")
        m.d.sync += [register.eq(value[:keep]), flag.eq(dropped)]
        return register, flag
