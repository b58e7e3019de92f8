"""Exponential in fp32."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_inverse import clamp
from moesaic.hw.float_round import FloatRound
from moesaic.hw.parabola import Parabola
from moesaic.models.float_format import FP32
from moesaic.models.float_functions import EXP_TOP, FRACTION, POWER_BITS
from moesaic.models.float_tables import (
    EXP_OFFSET_BITS,
    INDEX_BITS,
    LOG2_E_BITS,
    UNIT_BITS,
    log2_e,
    power_table,
)
from moesaic.models.float_timing import EXP, PARABOLA

HALF_BITS = LOG2_E_BITS // 2
PRODUCT_BITS = FP32.significand_bits + LOG2_E_BITS - FRACTION
AMOUNT_BITS = PRODUCT_BITS.bit_length()


class FloatExp(wiring.Component):
    """Return ``models.float_functions.exp(x)``.

    One value a cycle, `LATENCY` cycles, no back-pressure. Four DSP48E2 and one block RAM.

    Members
    -------
    x : ``In(32)``
    result : ``Out(32)``
    """

    LATENCY = EXP

    def __init__(self) -> None:
        super().__init__({"x": In(FP32.bits), "result": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        fraction, field, sign = self.x[:FRACTION], self.x[FRACTION:-1], self.x[-1]

        # Cycles 1 and 2: times log2(e), whose two halves are what a DSP block takes.
        significand = Cat(fraction, field.any())
        low = Signal(FP32.significand_bits + HALF_BITS)
        high = Signal(FP32.significand_bits + HALF_BITS)
        product = Signal(PRODUCT_BITS)
        m.d.sync += [
            low.eq(significand * (log2_e() & ((1 << HALF_BITS) - 1))),
            high.eq(significand * (log2_e() >> HALF_BITS)),
            product.eq((low + (high << HALF_BITS)) >> FRACTION),
        ]

        # Cycle 3: shift; one fraction bit is kept for the rounding.
        amount: Value = Signal(signed(FP32.exponent_bits + 1))
        m.d.sync += amount.eq(EXP_TOP - 1 - field)
        amount = delay(m, amount, 1, "amount")
        doubled = Signal(PRODUCT_BITS)
        far = amount[AMOUNT_BITS:].any()
        m.d.sync += doubled.eq(Mux(far, 0, product >> amount[:AMOUNT_BITS]))

        # Cycle 4: round and negate; -((d + 1) >> 1) is (~d + 1) >> 1.
        negative = delay(m, sign, 3, "sign")
        power = Signal(signed(PRODUCT_BITS))
        flipped = Cat(doubled ^ negative.replicate(PRODUCT_BITS), negative).as_signed()
        m.d.sync += power.eq(flipped + 1 >> 1)

        m.submodules.parabola = parabola = Parabola(power_table())
        m.submodules.round = rounding = FloatRound(
            exponent_bits=PRODUCT_BITS - POWER_BITS + 1, significand_bits=UNIT_BITS
        )
        exponent = Signal(rounding.exponent.shape())
        nan = field.all() & fraction.any()
        beyond = field >= EXP_TOP
        flags = Cat(beyond & sign, beyond & ~sign, nan)
        m.d.comb += [
            parabola.offset.eq(power[:EXP_OFFSET_BITS]),
            parabola.index.eq(power[EXP_OFFSET_BITS : EXP_OFFSET_BITS + INDEX_BITS]),
            exponent.eq((power >> POWER_BITS) + FP32.bias),
            rounding.exponent.eq(delay(m, exponent, PARABOLA, "exponent")),
            rounding.significand.eq(clamp(parabola.value)),
            Cat(rounding.zero, rounding.infinite, rounding.nan).eq(
                delay(m, flags, 4 + PARABOLA, "flags")
            ),
            self.result.eq(rounding.result),
        ]
        return m
