"""Shapes of the scratchpads: words, banks, the beats that the DMA counts."""

from dataclasses import dataclass

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Buffer
from moesaic.models.pipeline import log2


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A scratchpad: `depth` words of `width` bits in `banks` banks, written by `granule` bits.

    The DMA sees it as bus beats in order: word by word, in a word bank by bank.
    """

    depth: int
    width: int
    granule: int
    banks: int
    bus_bits: int

    @property
    def beats_log2(self) -> int:
        """Logarithm of the bus beats in a word (all banks)."""
        return log2(self.width // self.bus_bits)

    @property
    def beats(self) -> int:
        """Bus beats of the whole scratchpad."""
        return self.depth << self.beats_log2

    @property
    def bits(self) -> int:
        """Capacity."""
        return self.depth * self.width


def geometry(spec: AccelSpec, buffer: Buffer) -> Geometry:
    """Return the shape of one scratchpad."""
    bus, bits, wide = 8 * spec.bus_bytes, spec.data_bits, 8 * spec.wide_bytes
    tokens = spec.tokens_per_beat
    param = 8 * max(8, spec.bus_bytes)
    act = tokens * spec.act_word * bits
    kv = tokens * spec.kv_word * bits
    score = tokens * spec.wide_word * wide
    residual_granule = min(spec.columns * wide, spec.lanes * wide, bus)
    shapes = {
        Buffer.COMMAND: (2 * spec.block_commands, 8 * COMMAND_BYTES, bus, 1),
        Buffer.WEIGHT: (spec.weight_lines, spec.rows * bits, bus, 1),
        Buffer.INDEX: (max(1, spec.index_lines), spec.rows * 8, bus, 1),
        Buffer.PARAM: (spec.param_columns * 64 // param, param, bus, 1),
        Buffer.NORM: (spec.norm_words, spec.lanes * 64, bus, 1),
        Buffer.INPUT: (spec.input_words, act, bus, tokens),
        Buffer.ACT: (spec.act_words, act, spec.columns * bits, tokens),
        Buffer.VEC: (spec.vec_words, act, spec.lanes * bits, tokens),
        Buffer.KV: (spec.kv_words, kv, min(spec.columns, spec.lanes) * bits, tokens),
        Buffer.SCORE: (spec.score_words, score, spec.columns * wide, tokens),
        Buffer.RESIDUAL: (spec.residual_words, score, residual_granule, tokens),
    }
    depth, width, granule, banks = shapes[buffer]
    return Geometry(depth=depth, width=width, granule=granule, banks=banks, bus_bits=bus)


def narrow_word(spec: AccelSpec, buffer: Buffer) -> int:
    """Return the values in one bank's word of a scratchpad of tokens."""
    if buffer == Buffer.KV:
        return spec.kv_word
    return spec.wide_word if buffer in (Buffer.SCORE, Buffer.RESIDUAL) else spec.act_word
