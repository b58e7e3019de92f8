"""Addition in fp32."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_round import pack, shift_down
from moesaic.hw.leading_zeros import leading_zeros
from moesaic.models.float_format import FP32
from moesaic.models.float_timing import ADD

FRACTION = FP32.fraction_bits
WIDTH = FP32.significand_bits + 3  # with guard, round and sticky bit
AMOUNT_BITS = 5


class FloatAdd(wiring.Component):
    """Return ``models.float_arithmetic.add(a, b)``.

    One a cycle, `LATENCY` cycles, no back-pressure. Subnormal numbers, signed zeros and infinities
    are IEEE 754's. To subtract, turn the sign of `b`.

    Members
    -------
    a, b : ``In(32)``
    sum : ``Out(32)``
    """

    LATENCY = ADD

    def __init__(self) -> None:
        super().__init__({"a": In(FP32.bits), "b": In(FP32.bits), "sum": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()

        # Cycle 1: the larger magnitude first; distance of the exponents, both ways.
        a_field, b_field = self.a[FRACTION:-1], self.b[FRACTION:-1]
        a_normal, b_normal = a_field.any(), b_field.any()
        a_nan = a_field.all() & self.a[:FRACTION].any()
        b_nan = b_field.all() & self.b[:FRACTION].any()
        opposite = self.a[-1] ^ self.b[-1]
        swap = self.a[:-1] < self.b[:-1]
        large = Signal(FP32.significand_bits)
        small = Signal(FP32.significand_bits)
        field = Signal(FP32.exponent_bits)
        distance = Signal(FP32.exponent_bits)
        subtract, sign, infinite, nan = Signal(), Signal(), Signal(), Signal()
        a_significand = Cat(self.a[:FRACTION], a_normal)
        b_significand = Cat(self.b[:FRACTION], b_normal)
        # Subnormal numbers have the exponent of field 1.
        a_exponent, b_exponent = a_field | ~a_normal, b_field | ~b_normal
        m.d.sync += [
            large.eq(Mux(swap, b_significand, a_significand)),
            small.eq(Mux(swap, a_significand, b_significand)),
            field.eq(Mux(swap, b_exponent, a_exponent)),
            distance.eq(Mux(swap, b_exponent - a_exponent, a_exponent - b_exponent)),
            subtract.eq(opposite),
            sign.eq(Mux(swap, self.b[-1], self.a[-1])),
            infinite.eq(a_field.all() | b_field.all()),
            nan.eq(a_nan | b_nan | (a_field.all() & b_field.all() & opposite)),
        ]

        # Cycle 2: align the smaller one; far below half a unit nothing is left of it.
        full = Cat(Const(0, WIDTH - FP32.significand_bits), small)
        near = shift_down(full, distance[:AMOUNT_BITS])
        far = distance[AMOUNT_BITS:].any()
        aligned = Signal(WIDTH)
        m.d.sync += aligned.eq(Mux(far, 0, near))
        large_late = delay(m, large, 1, "large")
        subtract_late = delay(m, subtract, 1, "subtract")
        field_late = delay(m, field, 1, "field")

        # Cycle 3: add. A mark limits the shift that follows to what the exponent allows.
        total = Signal(WIDTH + 1)
        limit = Signal(WIDTH + 1)
        operand = aligned ^ subtract_late.replicate(WIDTH)
        minuend = Cat(Const(0, WIDTH - FP32.significand_bits), large_late)
        m.d.sync += [
            # Two's complement; its one comes in as a carry out of a bit of both below.
            total.eq(
                (Cat(subtract_late, minuend) + Cat(subtract_late, operand, subtract_late))[
                    1 : WIDTH + 2
                ]
            ),
            limit.eq((1 << WIDTH) >> field_late),
        ]
        field_late = delay(m, field_late, 1, "field_at_sum")
        subtract_late = delay(m, subtract_late, 1, "subtract_at_sum")

        # Cycle 4: count zeros; shift by 16 and 8.
        zeros = leading_zeros(total | limit)
        shifted = Signal(WIDTH + 1)
        coarse = Cat(Const(0, 3), zeros[3:])
        fine = Signal(3)
        up = Signal(range(-31, 2))
        nothing = Signal()
        m.d.sync += [
            shifted.eq((total << coarse)[: WIDTH + 1]),
            fine.eq(zeros[:3]),
            up.eq(1 - zeros),
            nothing.eq(subtract_late & (total == 0)),
        ]
        field_late = delay(m, field_late, 1, "field_at_shift")

        # Cycle 5: shift by up to 7, round, pack.
        significand = (shifted << fine)[: WIDTH + 1]
        exponent = (field_late + up)[: FP32.exponent_bits + 1]
        m.d.sync += self.sum.eq(
            pack(
                FP32,
                sign=delay(m, sign, 3, "sign") & ~nothing,
                field=Mux(significand[-1], exponent, 0),
                significand=significand,
                infinite=delay(m, infinite, 3, "infinite"),
                nan=delay(m, nan, 3, "nan"),
            )
        )
        return m
