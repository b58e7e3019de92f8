"""Latencies of the vector unit, in cycles: RTL and cycle model read them from here.

A beat is read in cycle 0 (address and enable leave their registers). Everything below counts from
there, so it holds for every beat of every sweep; what belongs to a row counts from its last beat.
"""

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import VectorOp
from moesaic.models.pipeline import RAM_READ, log2

SETUP = 4  # handshake of a command to its first read
OPERAND_AT = RAM_READ + 1  # the lanes' values, after the choice of a slice
SQUARE_AT = OPERAND_AT + 3  # difference, product, its register
Z_AT = SQUARE_AT + 3  # two shifts, saturation
RESULT_AT = Z_AT + 2 + 4  # product, offset, rounding shift
WRITE_AT = RESULT_AT + 1  # choice between softmax and the others

POWER_LATENCY = 4  # reference to power: difference, table, two shifts
INVERSE_LATENCY = 6  # three normalising shifts, table, product, difference


def tree_latency(spec: AccelSpec) -> int:
    """Return the registers of a reduction over the lanes: one for every two levels."""
    return (log2(spec.lanes) + 1) // 2


def maximum_at(spec: AccelSpec) -> int:
    """Return when the running maximum is there: reduction of the lanes, and its register."""
    return OPERAND_AT + tree_latency(spec) + 1


def reference_at(spec: AccelSpec) -> int:
    """Return when the subtrahend of softmax's powers is there."""
    return maximum_at(spec) + 1


def power_at(spec: AccelSpec) -> int:
    """Return when softmax's powers are there; rounded to narrow values one cycle later."""
    return reference_at(spec) + POWER_LATENCY


def total_at(spec: AccelSpec) -> int:
    """Return when the running sum of softmax is there."""
    return power_at(spec) + tree_latency(spec) + 1


def variance_at(spec: AccelSpec) -> int:
    """Return when variance and mean are there: reduction, running sums, then five cycles."""
    return SQUARE_AT + tree_latency(spec) + 1 + 5


def inverse_at(spec: AccelSpec, op: VectorOp) -> int:
    """Return when the reciprocal (root) is there; its operand has a register of its own."""
    operand = variance_at(spec) if op == VectorOp.LAYERNORM else total_at(spec)
    return operand + 1 + INVERSE_LATENCY


def gate_lanes(spec: AccelSpec) -> int:
    """Return the lanes that a row of gate logits reaches."""
    return min(spec.lanes, spec.experts)


def winner_at(spec: AccelSpec) -> int:
    """Return when a row's winner is there: comparison, reduction of the lanes, running maximum."""
    return OPERAND_AT + 1 + (log2(gate_lanes(spec)) + 1) // 2 + 1


def gate_score_at(spec: AccelSpec) -> int:
    """Return when a winner leaves with its score: product of two cycles, two shifts, rounding."""
    return inverse_at(spec, VectorOp.ROUTE) + 5


def statistics_at(spec: AccelSpec, op: VectorOp) -> int:
    """Return when a row's statistics, or its winner, are written for the next sweep."""
    if op == VectorOp.SOFTMAX:
        return maximum_at(spec) + 1
    if op == VectorOp.ROUTE:
        return winner_at(spec)
    return inverse_at(spec, op) + 4  # product, its register, rounding, saturation


def rowstat_at(spec: AccelSpec) -> int:
    """Return when a row statistic leaves: two products, each of two cycles, and rounding."""
    return inverse_at(spec, VectorOp.SOFTMAX) + 7


def second_sweep_wait(spec: AccelSpec, op: VectorOp) -> int:
    """Return the fewest cycles between the first row's last beat and the next sweep's first.

    The row's statistics must have been written, and softmax's last row statistics must not come
    after the command's last write. It is the same after each sweep that does not write.
    """
    wait = statistics_at(spec, op) - 1
    if op == VectorOp.SOFTMAX:
        wait = max(wait, rowstat_at(spec) - WRITE_AT - 1)
    return wait


def sweeps(op: VectorOp, top: int = 0, passes: int = 1) -> tuple[int, int]:
    """Return a command's sweeps that write nothing, and those that write, which come after.

    The last sweep of ROUTE counts as one that writes: its last winner ends the command.
    """
    match op:
        case VectorOp.SCALE:
            return 0, 1
        case VectorOp.ROUTE:
            return top - 1, 1
        case VectorOp.SOFTMAX:
            return (2 if passes > 1 else 1), (2 if passes > 2 else 1)
    return 1, 1


def vector_cycles(
    spec: AccelSpec, op: VectorOp, tokens: int, beats: int, top: int = 0, passes: int = 1
) -> tuple[int, int]:
    """Return the cycles from a command's handshake to the next possible one, and to ``done``.

    Parameters
    ----------
    spec : AccelSpec
    op : VectorOp
    tokens, beats : int
        Rows, and beats of `lanes` values in each.
    top : int
        ROUTE: sweeps over the rows, one for each expert of a token.
    passes : int
        SOFTMAX: passes over the scores, as :mod:`moesaic.models.softmax` has them; 0 is one.
    """
    sweep = tokens * beats
    period = max(sweep, beats + second_sweep_wait(spec, op))
    silent, writing = sweeps(op, top, passes)
    result = gate_score_at(spec) if op == VectorOp.ROUTE else WRITE_AT
    done = SETUP + silent * period + writing * sweep - 1 + result
    return done + 1, done
