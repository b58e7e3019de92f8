"""A column of floating-point products: multipliers, adder tree, running sums."""

from amaranth.hdl import Cat, Module, Value
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_accumulate import FloatAccumulate
from moesaic.hw.float_multiply import FloatMultiply
from moesaic.hw.float_tree import FloatTree
from moesaic.models.float_format import FP32, FloatFormat
from moesaic.models.float_timing import dot_latency, multiply_latency, tree_latency


class FloatDot(wiring.Component):
    """Add `rows` products to the running sum of an output: ``models.float_dot.dot``.

    One beat a cycle, ``dot_latency(fmt, rows)`` cycles, no back-pressure. As for `FloatAccumulate`,
    the same place must not come again within ``ACCUMULATE_GAP`` cycles.

    Parameters
    ----------
    fmt : FloatFormat
        Of the operands, fp16 or bf16.
    rows : int
        Products in a beat, a power of two.
    depth : int
        Running sums.

    Members
    -------
    a, b : ``In(ArrayLayout(fmt.bits, rows))``
    valid, place, first : ``In``, due with the operands, as for `FloatAccumulate`.
    sum_valid, sum_place, sum : ``Out``, each new sum.
    """

    def __init__(self, fmt: FloatFormat, *, rows: int, depth: int) -> None:
        self.fmt = fmt
        self.rows = rows
        self.depth = depth
        self.LATENCY = dot_latency(fmt, rows)
        super().__init__(
            {
                "a": In(ArrayLayout(fmt.bits, rows)),
                "b": In(ArrayLayout(fmt.bits, rows)),
                "valid": In(1),
                "place": In(range(depth)),
                "first": In(1),
                "sum_valid": Out(1),
                "sum_place": Out(range(depth)),
                "sum": Out(FP32.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        products: list[Value] = []
        for row in range(self.rows):
            m.submodules[f"multiply{row}"] = multiply = FloatMultiply(self.fmt)
            m.d.comb += [multiply.a.eq(self.a[row]), multiply.b.eq(self.b[row])]
            products.append(multiply.product)
        m.submodules.tree = tree = FloatTree(rows=self.rows)
        m.submodules.accumulate = accumulate = FloatAccumulate(depth=self.depth)
        wait = multiply_latency(self.fmt) + tree_latency(self.rows)
        m.d.comb += [
            tree.terms.eq(Cat(*products)),
            accumulate.term.eq(tree.sum),
            accumulate.valid.eq(delay(m, self.valid, wait, "valid")),
            accumulate.place.eq(delay(m, self.place, wait, "place")),
            accumulate.first.eq(delay(m, self.first, wait, "first")),
            self.sum_valid.eq(accumulate.sum_valid),
            self.sum_place.eq(accumulate.sum_place),
            self.sum.eq(accumulate.sum),
        ]
        return m
