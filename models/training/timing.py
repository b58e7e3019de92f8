"""Cycles of the training machine's vector unit, input to output; each takes a beat every cycle."""

from moesaic.models.float_format import FP32, FloatFormat
from moesaic.models.float_timing import (
    ACCUMULATE,
    ADD,
    EXP,
    INVERSE,
    LOG,
    MAXIMUM,
    SELECT,
    convert_latency,
    multiply_latency,
    tree_latency,
)
from moesaic.models.pipeline import log2
from moesaic.models.training.passes import PARTIALS

COMBINE = MAXIMUM + ADD + multiply_latency(FP32) + ADD
"""PassLane's first part: compare, add, multiply, add."""
LONGEST_FUNCTION = max(EXP, INVERSE, LOG)
"""What the other functions are delayed to."""
FUNCTION = LONGEST_FUNCTION + 1
"""PassLane's second part: function, choice."""
MASK = 1
"""Values that do not count are replaced."""
COLUMN_SUM = ACCUMULATE
"""ColumnSum: a row's beat to its new sums; the same place comes after ACCUMULATE_GAP again."""
KEPT = SELECT + 1
"""Pack: a beat to what is kept of it."""
PACK = KEPT + 1
"""Pack: the beat that fills a line to the line."""


def lane_latency(fmt: FloatFormat) -> int:
    """PassLane: operands to the result and the result rounded to `fmt`."""
    return COMBINE + FUNCTION + convert_latency(fmt)


def row_sum_latency(lanes: int) -> int:
    """RowSum: a row's last beat to its sum."""
    return MASK + tree_latency(lanes) + ADD + tree_latency(PARTIALS)


def row_max_latency(lanes: int) -> int:
    """RowMax: a row's last beat to its maximum."""
    return MASK + MAXIMUM * log2(lanes) + MAXIMUM


def transpose_latency(lanes: int) -> int:
    """Transpose: row i of a block to column i of it."""
    return lanes + 1
