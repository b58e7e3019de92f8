"""Multiplication of patterns."""

from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.float_operand import FloatUnpack
from moesaic.hw.float_product import FloatProduct
from moesaic.models.float_format import FP32, FloatFormat
from moesaic.models.float_timing import multiply_latency


class FloatMultiply(wiring.Component):
    """Return ``models.float_arithmetic.product(a, b, fmt)`` (``multiply(a, b)`` for fp32).

    One a cycle, ``multiply_latency(fmt)`` cycles, no back-pressure.

    Parameters
    ----------
    fmt : FloatFormat
        Of the operands; the product is fp32.

    Members
    -------
    a, b : ``In(fmt.bits)``
    product : ``Out(32)``
    """

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        self.LATENCY = multiply_latency(fmt)
        super().__init__({"a": In(fmt.bits), "b": In(fmt.bits), "product": Out(FP32.bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.unpack_a = unpack_a = FloatUnpack(self.fmt)
        m.submodules.unpack_b = unpack_b = FloatUnpack(self.fmt)
        m.submodules.product = product = FloatProduct(self.fmt)
        m.d.comb += [
            unpack_a.i.eq(self.a),
            unpack_b.i.eq(self.b),
            product.a.eq(unpack_a.o),
            product.b.eq(unpack_b.o),
            self.product.eq(product.product),
        ]
        return m
