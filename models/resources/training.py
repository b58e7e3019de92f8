"""What a machine for training takes, as far as its parameters alone say it."""

from moesaic.models.accel import AccelSpec
from moesaic.models.training.memories import Store, shape

COPIES = {
    Store.X: 3,
    Store.W: 2,
    Store.PLACES: 2,
    Store.P: 3,
    Store.V: 4,
    Store.L: 3,
    Store.S: 3,
    Store.K: 3,
}
"""Copies of each memory: one for each reader."""
BLOCK_BITS = 36 * 1024
URAM_BITS = 288 * 1024


def multipliers(spec: AccelSpec) -> int:
    """Return the array's multipliers: a product of two significands of at most 11 bits each."""
    return spec.rows * spec.columns


def memory_bits(spec: AccelSpec) -> int:
    """Return the bits of all memories with all their copies."""
    shapes = ((count, shape(spec, store)) for store, count in COPIES.items())
    return sum(count * held.depth * held.width for count, held in shapes)


def memory_blocks(spec: AccelSpec) -> int:
    """Return these bits in blocks of 36 kbit, had all been of that kind."""
    return -(-memory_bits(spec) // BLOCK_BITS)


def fits(spec: AccelSpec) -> bool:
    """Whether multipliers and bits are on the board, its UltraRAM among the memories."""
    board = spec.board
    room = board.uram * URAM_BITS + board.bram36 * BLOCK_BITS
    return multipliers(spec) <= board.dsp and memory_bits(spec) <= room
