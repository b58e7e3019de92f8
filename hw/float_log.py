"""Natural logarithm in fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_operand import FloatUnpack
from moesaic.hw.float_round import pack
from moesaic.hw.leading_zeros import leading_zeros
from moesaic.hw.parabola import Parabola
from moesaic.models.float_format import FP32
from moesaic.models.float_functions import FRACTION, LOG_UNIT_BITS, OFFSET
from moesaic.models.float_tables import LN2_BITS, LOG_UPPER, UNIT_BITS, ln2, log_table
from moesaic.models.float_timing import LOG, PARABOLA

HALF_BITS = UNIT_BITS // 2
TOTAL_BITS = LOG_UNIT_BITS + 7  # magnitude: the largest is 149 * ln(2), below 2**7
FINE_BITS = 3


class FloatLog(wiring.Component):
    """Return ``models.float_functions.log(x)``.

    One value a cycle, `LATENCY` cycles, no back-pressure. Six DSP48E2 and one block RAM.

    Members
    -------
    x : ``In(32)``
    result : ``Out(32)``
    """

    LATENCY = LOG

    def __init__(self) -> None:
        super().__init__({"x": In(FP32.bits), "result": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unpack = unpack = FloatUnpack(FP32)
        m.submodules.parabola = parabola = Parabola(log_table())
        number = unpack.o
        fraction = number.significand[:-1]
        upper = fraction[OFFSET:] >= LOG_UPPER
        zero = ~number.significand[-1] & ~number.infinite
        nan = number.nan | (number.sign & ~zero)
        m.d.comb += [
            unpack.i.eq(self.x),
            parabola.index.eq(fraction[OFFSET:]),
            parabola.offset.eq(fraction[:OFFSET]),
        ]

        # x - 1 and the exponent wait for the table's value; then their products.
        distance = Signal(signed(FRACTION + 2))
        whole = Signal(signed(FP32.exponent_bits + 1))
        m.d.comb += [
            distance.eq(Mux(upper, fraction - (1 << FRACTION), fraction << 1)),
            whole.eq(number.exponent - FP32.bias + upper),
        ]
        distance_late = delay(m, distance, PARABOLA, "distance").as_signed()
        whole_late = delay(m, whole, PARABOLA, "whole").as_signed()
        low = Signal(signed(FRACTION + 2 + HALF_BITS))
        high = Signal(signed(FRACTION + 2 + HALF_BITS + 1))
        product = Signal(signed(FRACTION + 2 + UNIT_BITS))
        logs = Signal(signed(len(whole) + LN2_BITS))
        total = Signal(signed(TOTAL_BITS + 1))
        m.d.sync += [
            low.eq(distance_late * parabola.value[:HALF_BITS]),
            high.eq(distance_late * parabola.value[HALF_BITS:UNIT_BITS]),
            product.eq(low + (high << HALF_BITS)),
            logs.eq(whole_late * ln2()),
            total.eq((delay(m, logs, 1, "logs").as_signed() << LOG_UNIT_BITS - LN2_BITS) + product),
        ]

        # Magnitude; shift by multiples of 8; shift by 0..7; round.
        magnitude = Signal(TOTAL_BITS)
        coarse = Signal(TOTAL_BITS)
        fine = Signal(FP32.significand_bits + 2)
        negative = total[-1]
        zeros = leading_zeros(magnitude)
        zeros_late = delay(m, zeros, 1, "zeros")
        upward = Cat(Const(0, FINE_BITS), zeros[FINE_BITS:])
        shifted = (coarse << zeros_late[:FINE_BITS])[:TOTAL_BITS]
        cut = TOTAL_BITS - len(fine)
        field = Signal(FP32.exponent_bits)
        m.d.sync += [
            magnitude.eq(Mux(negative, -total, total)),
            coarse.eq((magnitude << upward)[:TOTAL_BITS]),
            fine.eq(Cat(shifted[: cut + 1].any(), shifted[cut + 1 :])),
            field.eq(FP32.bias + TOTAL_BITS - 1 - LOG_UNIT_BITS - zeros_late),
        ]
        late = delay(m, Cat(zero, number.infinite, nan), PARABOLA + 6, "flags")
        below_one = delay(m, negative, 3, "negative")
        m.d.sync += self.result.eq(
            pack(
                FP32,
                sign=below_one | late[0],
                field=Mux(fine[-1], field, 0),
                significand=fine,
                infinite=late[0] | late[1],
                nan=late[2],
            )
        )
        return m
