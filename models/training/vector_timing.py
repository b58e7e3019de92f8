"""Cycles of a VECTOR command on the training machine: the sequencer's, and the pipeline's."""

from collections.abc import Mapping

from moesaic.models.accel import AccelSpec
from moesaic.models.float_format import FORMATS
from moesaic.models.float_timing import ACCUMULATE_GAP, EXTEND
from moesaic.models.pipeline import RAM_READ
from moesaic.models.training.timing import (
    COLUMN_SUM,
    KEPT,
    PACK,
    lane_latency,
    row_max_latency,
    row_sum_latency,
    transpose_latency,
)

READ = RAM_READ + 1
"""Issue to a memory's slice: RAM, choice of the memory."""
OPERANDS = READ + EXTEND + 1
"""Issue to the lanes' operands: widened, chosen."""
SPACING = ACCUMULATE_GAP
"""Fewest cycles from row to row where columns are summed."""


def result_at(spec: AccelSpec) -> int:
    """Issue of a slice to its results."""
    return OPERANDS + lane_latency(FORMATS[spec.numbers])


def column_at(spec: AccelSpec) -> int:
    """Issue of a row's last slice to what S gets of it: sums, maxima, and results for S."""
    return result_at(spec) + max(row_sum_latency(spec.lanes), row_max_latency(spec.lanes))


def hold(spec: AccelSpec) -> int:
    """Cycles that the unit rests behind a transposing pass or a packing: their results are late."""
    return max(transpose_latency(spec.lanes), KEPT + EXTEND, PACK)


def done_at(spec: AccelSpec) -> int:
    """Issue of a command's last slice to its end: the latest of all writes."""
    sums = result_at(spec) + COLUMN_SUM
    return max(column_at(spec), sums, result_at(spec) + hold(spec)) + 1


def vector_cycles(spec: AccelSpec, command: Mapping[str, int]) -> tuple[int, int]:
    """Return, from the cycle in which a command is taken, when the next may be, and its end."""
    rows, beats = command["rows"], command["beats"]
    if command.get("transpose", 0):
        last = -(-rows // spec.lanes) * spec.lanes * beats
    elif command.get("column_sum", 0):
        last = (rows - 1) * max(beats, SPACING) + beats
    else:
        last = rows * beats
    late = command.get("transpose", 0) or command.get("pack", 0)
    free = last + hold(spec) + 1 if late else last
    return free, last + done_at(spec)
