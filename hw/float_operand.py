"""Operands of multiplications, unpacked: subnormal numbers normalised, special values as flags."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.data import StructLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.leading_zeros import leading_zeros
from moesaic.models.float_format import FloatFormat
from moesaic.models.float_timing import unpack_latency


def operand_layout(fmt: FloatFormat) -> StructLayout:
    """Return the layout of an unpacked number.

    ``significand * 2**(exponent - bias - fraction_bits)`` is its magnitude. The significand has its
    highest bit set, unless the number is zero. With `infinite` or `nan` the others say nothing.
    """
    return StructLayout(
        {
            "significand": fmt.significand_bits,
            "exponent": signed(fmt.normal_exponent_bits),
            "sign": 1,
            "infinite": 1,
            "nan": 1,
        }
    )


class FloatUnpack(wiring.Component):
    """Unpack a pattern; a product needs no count of zeros behind its multiplier then.

    One a cycle, ``unpack_latency(fmt)`` cycles, no back-pressure. An array needs one for each
    operand that enters it, not for each multiplier.

    Parameters
    ----------
    fmt : FloatFormat

    Members
    -------
    i : ``In(fmt.bits)``
    o : ``Out(operand_layout(fmt))``
    """

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        self.LATENCY = unpack_latency(fmt)
        super().__init__({"i": In(fmt.bits), "o": Out(operand_layout(fmt))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        fraction = self.i[: fmt.fraction_bits]
        field = self.i[fmt.fraction_bits : -1]
        sign = self.i[-1]
        zeros = leading_zeros(fraction)
        if self.LATENCY == 2:
            late = Signal(fmt.bits)
            late_zeros = Signal.like(zeros)
            m.d.sync += [late.eq(self.i), late_zeros.eq(zeros)]
            fraction, field, sign = (
                late[: fmt.fraction_bits],
                late[fmt.fraction_bits : -1],
                late[-1],
            )
            zeros = late_zeros

        subnormal = ~field.any()
        top = field.all()
        shifted = (fraction << zeros << 1)[: fmt.significand_bits]
        m.d.sync += [
            self.o.sign.eq(sign),
            self.o.exponent.eq(Mux(subnormal, -zeros, field)),
            self.o.significand.eq(Mux(subnormal, shifted, Cat(fraction, 1))),
            self.o.infinite.eq(top & ~fraction.any()),
            self.o.nan.eq(top & fraction.any()),
        ]
        return m
