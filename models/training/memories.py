"""The training machine's memories: which tensors they hold, and their words."""

from dataclasses import dataclass
from enum import IntEnum

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES
from moesaic.models.pipeline import log2


class Store(IntEnum):
    """Memories by their number in LOAD and STORE commands; COMMAND is the integer machine's."""

    COMMAND = 0
    X = 1  # operands
    W = 2  # packed weights: lines of one column in a word, one after the other
    PLACES = 3  # of packed weights, two words' in a word
    P = 4  # products
    V = 5  # floats that the vector unit writes
    L = 6  # floats from memory
    S = 7  # columns
    K = 8  # sums of columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """A memory of `depth` words of `width` bits; the DMA counts bus beats."""

    depth: int
    width: int
    bus_bits: int

    @property
    def beats_log2(self) -> int:
        """Logarithm of the bus beats in a word."""
        return log2(self.width // self.bus_bits)


def shape(spec: AccelSpec, store: Store) -> Shape:
    """Return the shape of one memory."""
    floats, bits = 32 * spec.lanes, spec.data_bits
    shapes = {
        Store.COMMAND: (2 * spec.block_commands, 8 * COMMAND_BYTES),
        Store.X: (spec.act_words, spec.act_word * bits),
        Store.W: (spec.weight_lines, spec.weight_word * bits),
        Store.PLACES: (max(1, spec.index_lines), 8 * spec.weight_word),
        Store.P: (spec.product_words, floats),
        Store.V: (spec.float_words, floats),
        Store.L: (spec.loaded_words, floats),
        Store.S: (spec.column_words, floats),
        Store.K: (spec.sum_words, floats),
    }
    depth, width = shapes[store]
    return Shape(depth=depth, width=width, bus_bits=8 * spec.bus_bytes)


def slices(spec: AccelSpec) -> int:
    """Slices of `lanes` values in a word of X."""
    return spec.act_word // spec.lanes
