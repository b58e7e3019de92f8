"""Cycles of the floating-point units, input to output; each takes a new input every cycle."""

from moesaic.models.float_format import FloatFormat
from moesaic.models.pipeline import log2

ADD = 5
"""FloatAdd: order, align, add, normalise, round."""
ROUND = 2
"""FloatRound: denormalise, round."""
EXTEND = 1
"""FloatExtend: fp16 or bf16 to fp32."""
MAXIMUM = 1
"""FloatMaximum."""
SELECT = 4
"""NMSelect: compare, count, place, pick."""
PARTIAL_SUM_READ = 1
"""Address of a partial sum to the sum, in a memory with a registered read port."""
ACCUMULATE = PARTIAL_SUM_READ + ADD
"""FloatAccumulate: address and term to the new sum."""
ACCUMULATE_GAP = ACCUMULATE + 1
"""Fewest cycles from one term of a sum to the next one of the same sum: read behind write.

So at least this many sums in turn keep the adder busy in every cycle.
"""


def unpack_latency(fmt: FloatFormat) -> int:
    """FloatUnpack: subnormal numbers are normalised; fp32's zeros are counted a cycle before."""
    return {"fp16": 1, "bf16": 1, "fp32": 2}[fmt.name]


def product_latency(fmt: FloatFormat) -> int:
    """FloatProduct of unpacked operands: fp16's is exact, bf16's and fp32's are rounded."""
    return {"fp16": 2, "bf16": 2 + ROUND, "fp32": 3 + ROUND}[fmt.name]


def multiply_latency(fmt: FloatFormat) -> int:
    """FloatMultiply: unpack, then the product."""
    return unpack_latency(fmt) + product_latency(fmt)


def convert_latency(fmt: FloatFormat) -> int:
    """FloatConvert to `fmt`: bf16 has fp32's exponents, so nothing is denormalised."""
    return {"fp16": ROUND, "bf16": 1}[fmt.name]


def tree_latency(rows: int) -> int:
    """FloatTree of `rows` terms."""
    return ADD * log2(rows)


def dot_latency(fmt: FloatFormat, rows: int) -> int:
    """FloatDot: operands to the new sum."""
    return multiply_latency(fmt) + tree_latency(rows) + ACCUMULATE


PARABOLA = 5
"""Parabola: table, product, sum, product, sum."""
INVERSE = 2 + PARABOLA + ROUND
"""FloatInverse: unpack, parabola, round."""
EXP = 4 + PARABOLA + ROUND
"""FloatExp: product with log2(e) (2), shift, round; parabola; round."""
LOG = 2 + PARABOLA + 2 + 1 + 4
"""FloatLog: unpack; parabola; product; sum; magnitude, two shifts, round."""
