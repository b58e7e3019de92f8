"""Latencies of the array's pipeline in cycles: RTL is built from them, the cycle model counts them.

A beat is issued by the stream unit, waits ``gather_latency`` for the addresses of its words, and
enters the array; cycles of all but the last function count from there.
"""

from moesaic.models.accel import AccelSpec

RAM_READ = 2  # address to data of every scratchpad: array read, then output register


def log2(power: int) -> int:
    """Return the logarithm of a power of two."""
    return power.bit_length() - 1


def gather_latency(spec: AccelSpec) -> int:
    """Issue to the words that a beat reads: the queue's RAM, row times pitch, sum; or none.

    The stationary loader's reads wait as long, so that both stay in step.
    """
    return RAM_READ + 2 if spec.experts else 0


def operand_latency(spec: AccelSpec) -> int:
    """Words' addresses to operands at the columns: RAM, source, slice, spread by format."""
    del spec
    return RAM_READ + 3


def swap_latency(spec: AccelSpec) -> int:
    """Address of a tile's first beat to its weights' swap: one cycle before its operands."""
    return operand_latency(spec) - 1


def load_latency(spec: AccelSpec) -> int:
    """Address of a stationary line to the write of a column's (or row's) shadow weights.

    Equal to the swap's, so that a tile may start in the cycle after its last line was read.
    """
    return swap_latency(spec)


def tree_stages(spec: AccelSpec) -> int:
    """Registers of a column's adder tree: four products, unpack, then two levels a stage."""
    unpack = 1 if spec.tokens_per_beat == 2 else 0
    return 1 + unpack + (log2(spec.rows) - 2 + 1) // 2


def column_latency(spec: AccelSpec) -> int:
    """Operands at a column to its sums: select, multiply, tree."""
    return 2 + tree_stages(spec)


def sum_latency(spec: AccelSpec) -> int:
    """Words' addresses to sums at the lanes."""
    return operand_latency(spec) + column_latency(spec)


def param_latency(spec: AccelSpec) -> int:
    """Stationary read to the write of a column's shadow parameters.

    As far behind the weights as the lanes are behind the columns, so that the swap of parameters
    keeps the order that the swap of weights has.
    """
    return load_latency(spec) + sum_latency(spec) - swap_latency(spec)


REQUANT = 6
GELU = 5
GELU_AT = 2 + REQUANT
POST_AT = GELU_AT + GELU  # the second requantisation begins
SELECT_AT = POST_AT + REQUANT
RESIDUAL_AT = SELECT_AT + 1
LANE = RESIDUAL_AT + 1


def result_latency(spec: AccelSpec) -> int:
    """Issue of a beat to the write of its results."""
    return gather_latency(spec) + sum_latency(spec) + LANE
