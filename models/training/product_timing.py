"""Latencies of the products of the machine for training, in cycles from a beat's or line's issue.

RTL is built from them, the cycle model counts them.
"""

from moesaic.models.accel import AccelSpec
from moesaic.models.float_format import FORMATS
from moesaic.models.float_timing import (
    ACCUMULATE,
    product_latency,
    tree_latency,
    unpack_latency,
)
from moesaic.models.pipeline import operand_latency


def bus_latency(spec: AccelSpec) -> int:
    """Issue to unpacked operands at the columns: those of the integer machine, unpacked."""
    return operand_latency(spec) + unpack_latency(FORMATS[spec.numbers])


def swap_latency(spec: AccelSpec) -> int:
    """Issue of a tile's first beat to its weights' swap, a cycle before its operands.

    A line is written to a column's shadow weights after as many cycles, so that a tile may start in
    the cycle after its last line was read.
    """
    return bus_latency(spec) - 1


def column_latency(spec: AccelSpec) -> int:
    """Operands at a column to the sum of its products: select, multiply, tree."""
    return 1 + product_latency(FORMATS[spec.numbers]) + tree_latency(spec.rows)


def term_latency(spec: AccelSpec) -> int:
    """Issue of a beat to the term that is added to its partial sum."""
    return bus_latency(spec) + column_latency(spec)


def result_latency(spec: AccelSpec) -> int:
    """Issue of a beat to the write of its results."""
    return term_latency(spec) + ACCUMULATE
