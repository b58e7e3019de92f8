"""How Yosys maps a memory: the cheapest of the ways that a part has for it.

Each way has a cost, which the library files of Yosys give (``xilinx/lutrams_xcu.txt``,
``xilinx/brams_xc4v.txt``, ``lattice/*.txt``); a memory that is deeper than its cells takes several
of them side by side, with multiplexers behind.
"""

from dataclasses import dataclass
from functools import lru_cache

from moesaic.models.pipeline import log2

MULTIPLEXER = 0.5  # cost of a bit that is chosen from one more bank


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One way to store `depth` words of `width` bits.

    Parameters
    ----------
    depth, width : int
    cost : float
    by_width : bool
        Whether the cost is in proportion to the bits in use.
    byte : int
        Bits that a memory's width is rounded up to; 0 means to whole cells, bank by bank.
    blocks : float
        Block memories, 0 for a LUT RAM. `luts` : int, LUTs that store.
    """

    depth: int
    width: int
    cost: float
    by_width: bool = False
    byte: int = 0
    blocks: float = 0.0
    luts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """What a memory takes.

    Parameters
    ----------
    blocks : float
        RAMB36E2; a RAMB18E2 and a DP16KD count as half of one.
    luts : int
        LUTs that store.
    banks : int
        Memories side by side of which one answers.
    """

    blocks: float
    luts: int
    banks: int


def _blocks(cost: float, blocks: float, widths: dict[int, int]) -> tuple[Cell, ...]:
    return tuple(
        Cell(depth=depth, width=width, cost=cost, byte=min(9, width), blocks=blocks)
        for depth, width in widths.items()
    )


DEEP = {1024: 18, 2048: 9, 4096: 4, 8192: 2, 16384: 1}
CELLS: dict[str, tuple[Cell, ...]] = {
    "xcup": (
        Cell(depth=32, width=14, cost=16, by_width=True, luts=8),
        Cell(depth=64, width=7, cost=16, by_width=True, luts=8),
        *_blocks(129, 0.5, {512: 36} | DEEP),
        *_blocks(257, 1.0, {512: 72} | {2 * depth: width for depth, width in DEEP.items()}),
        *_blocks(257, 1.0, {1024: 36}),
    ),
    "ecp5": (
        Cell(depth=16, width=4, cost=4, luts=6),
        *_blocks(160, 0.5, DEEP),
        *_blocks(160, 0.5, {512: 36}),
    ),
}
"""Cells by target; 32 of an ECP5 block's cost stand for the logic that hides its collisions."""


@lru_cache(maxsize=4096)
def memory(target: str, width: int, depth: int, slices: int = 1) -> Mapped:
    """Return what a memory with a port for reads and one for writes takes.

    Parameters
    ----------
    target : str
        ``xcup`` or ``ecp5``.
    width, depth : int
        Bits of a slice, and words.
    slices : int
        Parts of a word that are written alone.
    """
    best, least = Mapped(blocks=0, luts=0, banks=1), float("inf")
    for cell in CELLS[target]:
        banks = -(-depth // cell.depth)
        if cell.byte:
            cells = -(-banks * slices * -(-width // cell.byte) * cell.byte // cell.width)
        else:
            cells = banks * slices * -(-width // cell.width)
        used = banks * slices * width / cell.width if cell.by_width else cells
        several = (banks - 1) * width + (banks if banks > 1 else 0)
        cost = cell.cost * used + MULTIPLEXER * slices * several
        if cost < least:
            least = cost
            best = Mapped(blocks=cells * cell.blocks, luts=cells * cell.luts, banks=banks)
    return best


def bank_bits(banks: int) -> int:
    """Return the bits of an address that choose a bank."""
    return log2(1 << (banks - 1).bit_length())
