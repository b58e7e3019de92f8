"""Shapes of the scratchpads: words, banks, the beats that the DMA counts."""

from dataclasses import dataclass

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Buffer
from moesaic.models.pipeline import log2

TOKENS = (Buffer.INPUT, Buffer.ACT, Buffer.VEC, Buffer.KV, Buffer.SCORE, Buffer.RESIDUAL)


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
    bus = 8 * spec.bus_bytes
    depth, width, granule = _shape(spec, buffer, bus)
    banks = spec.tokens_per_beat if buffer in TOKENS else 1
    return Geometry(depth=depth, width=width, granule=granule, banks=banks, bus_bits=bus)


def _shape(spec: AccelSpec, buffer: Buffer, bus: int) -> tuple[int, int, int]:
    """Return words, bits of a word, and bits that are written at once."""
    match buffer:
        case Buffer.COMMAND:
            return 2 * spec.block_commands, 8 * COMMAND_BYTES, bus
        case Buffer.WEIGHT:
            return spec.weight_lines, spec.rows * spec.data_bits, bus
        case Buffer.INDEX:
            return max(1, spec.index_lines), spec.rows * 8, bus
        case Buffer.PARAM:
            param = 8 * max(8, spec.bus_bytes)
            return spec.param_columns * 64 // param, param, bus
        case Buffer.NORM:
            return spec.norm_words, spec.lanes * 64, bus
    tokens, bits, wide = spec.tokens_per_beat, spec.data_bits, 8 * spec.wide_bytes
    act, score = tokens * spec.act_word * bits, tokens * spec.wide_word * wide
    match buffer:
        case Buffer.INPUT:
            return spec.input_words, act, bus
        case Buffer.ACT:
            return spec.act_words, act, spec.columns * bits
        case Buffer.VEC:
            return spec.vec_words, act, spec.lanes * bits
        case Buffer.KV:
            kv = tokens * spec.kv_word * bits
            return spec.kv_words, kv, min(spec.columns, spec.lanes) * bits
        case Buffer.SCORE:
            return spec.score_words, score, spec.columns * wide
    return spec.residual_words, score, min(spec.columns * wide, spec.lanes * wide, bus)


def narrow_word(spec: AccelSpec, buffer: Buffer) -> int:
    """Return the values in one bank's word of a scratchpad of tokens."""
    if buffer == Buffer.KV:
        return spec.kv_word
    return spec.wide_word if buffer in (Buffer.SCORE, Buffer.RESIDUAL) else spec.act_word
