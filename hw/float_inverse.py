"""Reciprocal, reciprocal square root and square root in fp32."""

from collections.abc import Callable
from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_operand import FloatUnpack
from moesaic.hw.float_round import FloatRound
from moesaic.hw.parabola import Parabola
from moesaic.models.float_format import FP32
from moesaic.models.float_tables import (
    INDEX_BITS,
    UNIT_BITS,
    Parabolas,
    reciprocal_root_table,
    reciprocal_table,
    root_table,
)
from moesaic.models.float_timing import INVERSE, PARABOLA

EXPONENT_BITS = FP32.exponent_bits + 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """What tells one function from another: its table, the result's exponent field."""

    table: Callable[[], Parabolas]
    exponent: Callable[[Value], Value]
    root: bool
    inverse: bool


FORMS = {
    "reciprocal": Form(
        table=reciprocal_table,
        exponent=lambda field: 2 * FP32.bias - 1 - field,
        root=False,
        inverse=True,
    ),
    "reciprocal_root": Form(
        table=reciprocal_root_table,
        exponent=lambda field: 190 - (field + 1 >> 1),
        root=True,
        inverse=True,
    ),
    "square_root": Form(
        table=root_table,
        exponent=lambda field: (field + 1 >> 1) + 63,
        root=True,
        inverse=False,
    ),
}


def clamp(value: Value) -> Value:
    """Keep a value between 1/2 and 1 in units of 2**-28: rounding may have led just beyond."""
    over = value[UNIT_BITS]
    number = Cat(value[: UNIT_BITS - 1], 1)
    under = ~value[UNIT_BITS - 1]
    return Mux(over, (1 << UNIT_BITS) - 1, Mux(under, 1 << (UNIT_BITS - 1), number))


class FloatInverse(wiring.Component):
    """Return `reciprocal`, `reciprocal_root` or `square_root` of ``models.float_functions``.

    One value a cycle, `LATENCY` cycles, no back-pressure.

    Parameters
    ----------
    function : str
        One of `FORMS`.

    Members
    -------
    x : ``In(32)``
    result : ``Out(32)``
    """

    LATENCY = INVERSE

    def __init__(self, function: str) -> None:
        self.form = FORMS[function]
        super().__init__({"x": In(FP32.bits), "result": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        form = self.form
        m.submodules.unpack = unpack = FloatUnpack(FP32)
        m.submodules.parabola = parabola = Parabola(form.table())
        m.submodules.round = rounding = FloatRound(
            exponent_bits=EXPONENT_BITS, significand_bits=UNIT_BITS
        )
        number = unpack.o
        fraction = number.significand[:-1]
        # A root's two octaves are those of an even exponent and of an odd one, whose field is even.
        segment = Cat(fraction, ~number.exponent[0]) if form.root else fraction
        zero = ~number.significand[-1]
        negative = number.sign & ~zero
        exponent = Signal(rounding.exponent.shape())
        m.d.comb += [
            unpack.i.eq(self.x),
            parabola.index.eq(segment[-INDEX_BITS:]),
            parabola.offset.eq(segment[:-INDEX_BITS]),
            exponent.eq(form.exponent(number.exponent)),
        ]
        nan = number.nan | (negative if form.root else 0)
        to_zero, to_infinity = number.infinite, zero & ~number.infinite
        if not form.inverse:
            to_zero, to_infinity = to_infinity, to_zero
        flags = Cat(number.sign, to_zero, to_infinity, nan)
        m.d.comb += [
            Cat(rounding.sign, rounding.zero, rounding.infinite, rounding.nan).eq(
                delay(m, flags, PARABOLA, "flags")
            ),
            rounding.exponent.eq(delay(m, exponent, PARABOLA, "exponent")),
            rounding.significand.eq(clamp(parabola.value)),
            self.result.eq(rounding.result),
        ]
        return m
