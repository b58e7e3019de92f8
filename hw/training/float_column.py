"""A column of the floating-point array: double-buffered weights, operands, multipliers, tree."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from moesaic.hw.element import element, element_members
from moesaic.hw.float_operand import operand_layout
from moesaic.hw.float_product import FloatProduct
from moesaic.hw.float_tree import FloatTree
from moesaic.models.accel import AccelSpec
from moesaic.models.float_format import FORMATS, FP32
from moesaic.models.training.product_timing import column_latency


def unpacked_bits(spec: AccelSpec) -> int:
    """Bits of an unpacked operand or weight."""
    return operand_layout(FORMATS[spec.numbers]).size


class FloatColumn(wiring.Component):
    """Multiply the operands that `rows` weights pick, and add the products in a tree.

    One beat a cycle, ``column_latency(spec)`` cycles, no back-pressure. `swap` makes the shadow
    weights active from the next cycle on. Operands and weights are unpacked where they enter the
    array.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    operands, load, weights, indices, row_load, row_value, swap : ``In``, as `element_members`.
    sum : ``Out(32)``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.LATENCY = column_latency(spec)
        bits = unpacked_bits(spec)
        super().__init__(
            {
                **element_members(spec, operand_bits=bits, weight_bits=bits),
                "sum": Out(FP32.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        products: list[Value] = []
        for row in range(self.spec.rows):
            operand, weight = element(m, self, row)
            product = FloatProduct(FORMATS[self.spec.numbers])
            m.submodules[f"product{row}"] = product
            m.d.comb += [
                product.a.as_value().eq(operand),
                product.b.as_value().eq(weight),
            ]
            products.append(product.product)
        m.submodules.tree = tree = FloatTree(rows=self.spec.rows)
        m.d.comb += [tree.terms.eq(Cat(*products)), self.sum.eq(tree.sum)]
        return m
