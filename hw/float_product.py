"""Product of two unpacked numbers, as fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_operand import operand_layout
from moesaic.hw.float_round import FloatRound
from moesaic.models.float_format import FP16, FP32, FloatFormat
from moesaic.models.float_timing import product_latency

DSP_BITS = 17  # of the narrower operand of a DSP48E2, unsigned


class FloatProduct(wiring.Component):
    """Return ``models.float_arithmetic.product`` of unpacked operands (`multiply` for fp32).

    One a cycle, ``product_latency(fmt)`` cycles, no back-pressure. One multiplier of 27 by 18 bits
    for fp16 and bf16, two for fp32. fp16's product fits fp32 as it is; the others are rounded.

    Parameters
    ----------
    fmt : FloatFormat

    Members
    -------
    a, b : ``In(operand_layout(fmt))``
    product : ``Out(32)``
    """

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        self.LATENCY = product_latency(fmt)
        layout = operand_layout(fmt)
        super().__init__({"a": In(layout), "b": In(layout), "product": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fmt = self.fmt
        a, b = self.a, self.b

        significand, cycles = self._multiply(m)
        exponent = Signal(signed(fmt.normal_exponent_bits + 1))
        infinite, nan, zero, sign = Signal(), Signal(), Signal(), Signal()
        zeros = ~a.significand[-1] | ~b.significand[-1]
        m.d.sync += [
            exponent.eq(a.exponent + b.exponent),
            sign.eq(a.sign ^ b.sign),
            infinite.eq(a.infinite | b.infinite),
            # A zero's significand is zero; infinity's counts as its fraction, 1.0.
            nan.eq(a.nan | b.nan | ((a.infinite | b.infinite) & zeros)),
            zero.eq(zeros),
        ]
        flags = delay(m, Cat(sign, zero, infinite, nan), cycles - 1, "flags")
        exponent_late = delay(m, exponent, cycles - 1, "exponent")

        # The leading one is one of the two highest bits.
        upper = significand[-1]
        normal = Mux(upper, significand, significand << 1)[: len(significand)]
        biased = exponent_late + (FP32.bias - 2 * fmt.bias) + upper
        if fmt == FP16:
            m.d.sync += self.product.eq(self._exact(normal, biased, flags))
            return m
        return self._rounded(m, normal, biased, flags)

    def _multiply(self, m: Module) -> tuple[Value, int]:
        """Return the significands' product, registered, and its cycles."""
        a, b = self.a.significand, self.b.significand
        width = len(a) + len(b)
        product = Signal(width)
        if len(b) <= DSP_BITS:
            m.d.sync += product.eq(a * b)
            return product, 1
        low = Signal(len(a) + DSP_BITS)
        high = Signal(width - DSP_BITS)
        m.d.sync += [
            low.eq(a * b[:DSP_BITS]),
            high.eq(a * b[DSP_BITS:]),
            product.eq(low + (high << DSP_BITS)),
        ]
        return product, 2

    @staticmethod
    def _exact(normal: Value, biased: Value, flags: Value) -> Value:
        """Pack a product that needs no rounding: its exponent is a normal one."""
        sign, zero, infinite, nan = flags
        fraction = Cat(Const(0, FP32.significand_bits - len(normal)), normal[:-1])
        number = Cat(fraction, biased[: FP32.exponent_bits])
        magnitude = Mux(infinite, FP32.infinity, Mux(zero, 0, number))[: FP32.bits - 1]
        return Mux(nan, Const(FP32.nan, FP32.bits), Cat(magnitude, sign))

    def _rounded(self, m: Module, normal: Value, biased: Value, flags: Value) -> Module:
        kept = FP32.significand_bits + 2
        if len(normal) < kept:
            normal = Cat(Const(0, kept - len(normal)), normal)
        m.submodules.round = rounding = FloatRound(exponent_bits=len(biased), significand_bits=kept)
        cut = len(normal) - kept
        m.d.sync += [
            rounding.significand.eq(Cat(normal[: cut + 1].any(), normal[cut + 1 :])),
            rounding.exponent.eq(biased),
            Cat(rounding.sign, rounding.zero, rounding.infinite, rounding.nan).eq(flags),
        ]
        m.d.comb += self.product.eq(rounding.result)
        return m
