"""The last step of floating-point units: denormalise, round to nearest even, pack."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.float_format import FP32, FloatFormat
from moesaic.models.float_timing import ROUND


def pack(
    fmt: FloatFormat, *, sign: Value, field: Value, significand: Value, infinite: Value, nan: Value
) -> Value:
    """Round and return a pattern.

    Parameters
    ----------
    fmt : FloatFormat
    sign : Value
    field : Value
        Exponent field: 0 for a subnormal significand. It may be the one of infinity.
    significand : Value
        ``fmt.significand_bits``, of which the highest is left out, then the bit of half a unit and
        more below: their OR says whether a tie is none.
    infinite, nan : Value
        The result is infinity, or NaN.
    """
    below = len(significand) - fmt.significand_bits
    half, rest = significand[below - 1], significand[: below - 1].any()
    exact = Cat(significand[below:-1], field[: fmt.exponent_bits])
    # A carry out of the fraction makes the next exponent, from subnormal numbers to infinity.
    rounded = (exact + (half & (rest | exact[0])))[: fmt.bits - 1]
    beyond = infinite | (field >= fmt.top_exponent)
    number = Cat(Mux(beyond, fmt.infinity, rounded)[: fmt.bits - 1], sign)
    return Mux(nan, Const(fmt.nan, fmt.bits), number)


class FloatRound(wiring.Component):
    """Return ``(-1)**sign * significand * 2**exponent`` as a pattern of `fmt`, rounded once.

    One a cycle, `LATENCY` cycles, no back-pressure.

    Parameters
    ----------
    fmt : FloatFormat
    exponent_bits : int
        Signed bits of the exponent.
    significand_bits : int
        At least two more than those of `fmt`.

    Members
    -------
    sign : ``In(1)``
    exponent : ``In(signed(exponent_bits))``, biased as `fmt` is: that of the highest bit. Less than
        1 where the result is subnormal.
    significand : ``In(significand_bits)``, its highest bit set. The lowest one stands for all that
        is below: it is set if any of it is.
    zero, infinite, nan : ``In(1)``, the result is that, whatever the others say.
    result : ``Out(fmt.bits)``
    """

    LATENCY = ROUND

    def __init__(
        self, *, fmt: FloatFormat = FP32, exponent_bits: int, significand_bits: int
    ) -> None:
        self.fmt = fmt
        super().__init__(
            {
                "sign": In(1),
                "exponent": In(signed(exponent_bits)),
                "significand": In(significand_bits),
                "zero": In(1),
                "infinite": In(1),
                "nan": In(1),
                "result": Out(fmt.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        kept = fmt.significand_bits + 2  # the half and the rest below it
        amount_bits = kept.bit_length()

        # Cycle 1: shift a subnormal result down; the rest below keeps what falls out.
        cut = len(self.significand) - kept
        full = Cat(self.significand[: cut + 1].any(), self.significand[cut + 1 :])
        amount = Signal(signed(len(self.exponent) + 1))
        m.d.comb += amount.eq(1 - self.exponent)
        subnormal = amount > 0
        far = (amount >> amount_bits) != 0  # of a positive amount
        shifted = shift_down(full, amount[:amount_bits])

        significand = Signal(kept)
        field = Signal(len(self.exponent) - 1)
        sign, infinite, nan = Signal(), Signal(), Signal()
        # Far below half of the smallest number nothing is left, not even by rounding.
        gone = self.zero | (subnormal & far)
        m.d.sync += [
            significand.eq(Mux(gone, 0, Mux(subnormal, shifted, full))),
            field.eq(Mux(self.zero | subnormal, 0, self.exponent)),
            sign.eq(self.sign),
            infinite.eq(self.infinite),
            nan.eq(self.nan),
        ]

        # Cycle 2: round and pack.
        m.d.sync += self.result.eq(
            pack(fmt, sign=sign, field=field, significand=significand, infinite=infinite, nan=nan)
        )
        return m


def shift_down(value: Value, amount: Value) -> Value:
    """Return ``value >> amount`` whose lowest bit is also set if a one was shifted out."""
    lost: Value = Const(0, 1)
    width = len(value)
    for place in reversed(range(len(amount))):
        step = 1 << place
        lost = lost | (amount[place] & value[: min(step, width)].any())
        value = Mux(amount[place], value >> step, value)[:width]
    return Cat(value[0] | lost, value[1:])
