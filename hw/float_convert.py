"""Conversions between fp32 and the operands' formats."""

from amaranth.hdl import Cat, Const, Module, Mux
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.float_operand import FloatUnpack
from moesaic.hw.float_round import FloatRound, pack
from moesaic.models.float_format import BF16, FP32, FloatFormat
from moesaic.models.float_timing import EXTEND, convert_latency


class FloatConvert(wiring.Component):
    """Return ``models.float_arithmetic.encode(x, fmt)``: fp32 rounded to fp16 or bf16.

    One a cycle, ``convert_latency(fmt)`` cycles, no back-pressure.

    Parameters
    ----------
    fmt : FloatFormat

    Members
    -------
    x : ``In(32)``
    result : ``Out(fmt.bits)``
    """

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        self.LATENCY = convert_latency(fmt)
        super().__init__({"x": In(FP32.bits), "result": Out(fmt.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fraction = self.x[: FP32.fraction_bits]
        field = self.x[FP32.fraction_bits : -1]
        special = field.all()
        nan = special & fraction.any()
        if self.fmt == BF16:  # the same exponents: rounding is all
            rounded = pack(
                BF16,
                sign=self.x[-1],
                field=field,
                significand=Cat(fraction, Const(0, 1)),
                infinite=special,
                nan=nan,
            )
            m.d.sync += self.result.eq(rounded)
            return m
        m.submodules.round = rounding = FloatRound(
            fmt=self.fmt,
            exponent_bits=FP32.exponent_bits + 1,
            significand_bits=FP32.significand_bits,
        )
        m.d.comb += [
            rounding.sign.eq(self.x[-1]),
            rounding.exponent.eq(field - (FP32.bias - self.fmt.bias)),
            rounding.significand.eq(Cat(fraction, 1)),
            rounding.zero.eq(field == 0),  # far below half of the smallest number of fp16
            rounding.infinite.eq(special),
            rounding.nan.eq(nan),
            self.result.eq(rounding.result),
        ]
        return m


class FloatExtend(wiring.Component):
    """Return ``models.float_arithmetic.decode(i, fmt)``: fp16 or bf16 as fp32.

    One a cycle, `LATENCY` cycles, no back-pressure.

    Parameters
    ----------
    fmt : FloatFormat

    Members
    -------
    i : ``In(fmt.bits)``
    result : ``Out(32)``
    """

    LATENCY = EXTEND

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        super().__init__({"i": In(fmt.bits), "result": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        if fmt == BF16:
            fraction, field = self.i[: fmt.fraction_bits], self.i[fmt.fraction_bits : -1]
            nan = field.all() & fraction.any()
            wide = Cat(Const(0, FP32.bits - fmt.bits), self.i)
            m.d.sync += self.result.eq(Mux(nan, FP32.nan, wide))
            return m
        m.submodules.unpack = unpack = FloatUnpack(fmt)
        number = unpack.o
        exponent = (number.exponent + (FP32.bias - fmt.bias)).as_unsigned()[: FP32.exponent_bits]
        fraction = Cat(Const(0, FP32.fraction_bits - fmt.fraction_bits), number.significand[:-1])
        finite = Mux(number.significand[-1], Cat(fraction, exponent), 0)
        magnitude = Mux(number.infinite, FP32.infinity, finite)[: FP32.bits - 1]
        m.d.comb += [
            unpack.i.eq(self.i),
            self.result.eq(Mux(number.nan, FP32.nan, Cat(magnitude, number.sign))),
        ]
        return m
