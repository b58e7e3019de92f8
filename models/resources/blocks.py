"""Block memories of an accelerator: exact, since every memory is mapped by itself."""

from moesaic.models.resources.memories import ENTRY_BITS, command_memory, scratchpads
from moesaic.models.resources.memory import memory
from moesaic.models.resources.terms import Shape

HALF = 0.5  # of 36 kbit: a RAMB18E2, a DP16KD


def blocks(shape: Shape) -> float:
    """Return the blocks that an accelerator's memories take."""
    spec, target = shape.spec, shape.target
    total = HALF * _tables(shape)
    for places, slices, width, depth in scratchpads(spec).values():
        total += places * slices * memory(target, width, depth).blocks
    sums = shape.arrays * spec.columns * spec.tokens_per_beat
    total += sums * memory(target, spec.acc_bits, spec.psum_depth).blocks
    total += memory(target, ENTRY_BITS, spec.rowstat_rows * spec.tokens_per_beat).blocks
    return total + memory(target, *command_memory(spec)).blocks


def _tables(shape: Shape) -> int:
    """Return the tables in block ROM: the inverse's; on ECP5 those of GELU and 2**x as well."""
    spec = shape.spec
    if shape.target == "xcup":
        return 1
    gelu = shape.arrays * spec.columns * spec.tokens_per_beat if spec.gelu == "table" else 0
    return gelu + spec.lanes + 2 + (spec.experts > 0)
