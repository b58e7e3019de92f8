"""Block memories of an accelerator: exact, since every memory is mapped by itself."""

from moesaic.models.resources.memories import ENTRY_BITS, command_memory, scratchpads
from moesaic.models.resources.memory import memory
from moesaic.models.resources.terms import Shape

TABLES: dict[str, float] = {"xcup": 0.5, "ecp5": 0}
"""Blocks of the tables in ROM."""


def blocks(shape: Shape) -> float:
    """Return the blocks that an accelerator's memories take."""
    spec, target = shape.spec, shape.target
    total = TABLES[target]
    for places, slices, width, depth in scratchpads(spec).values():
        total += places * slices * memory(target, width, depth).blocks
    sums = shape.arrays * spec.columns * spec.tokens_per_beat
    total += sums * memory(target, spec.acc_bits, spec.psum_depth).blocks
    total += memory(target, ENTRY_BITS, spec.rowstat_rows * spec.tokens_per_beat).blocks
    return total + memory(target, *command_memory(spec)).blocks
