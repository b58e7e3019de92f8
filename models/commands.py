"""The command stream: 64-byte commands, their fields, and how they are packed.

RTL, mapper, cycle model and documentation read the one table below. A command starts with its
unit and five waits: the command may begin when each unit ``u`` has completed at least ``wait_u``
commands since the program began (modulo 2**16, differences below 2**15).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

COMMAND_BYTES = 64
COUNT_BITS = 16


class Unit(IntEnum):
    """The units that run at the same time; END stops the command processor."""

    LOAD = 0
    STORE = 1
    STATIONARY = 2
    STREAM = 3
    VECTOR = 4
    END = 5


UNITS = (Unit.LOAD, Unit.STORE, Unit.STATIONARY, Unit.STREAM, Unit.VECTOR)
WAITS = tuple(f"wait_{unit.name.lower()}" for unit in UNITS)  # fields of a command, by unit


class Buffer(IntEnum):
    """Scratchpads by their number in commands."""

    COMMAND = 0
    WEIGHT = 1
    INDEX = 2
    PARAM = 3
    NORM = 4
    INPUT = 5
    ACT = 6
    VEC = 7
    KV = 8
    SCORE = 9
    RESIDUAL = 10


class Epilogue(IntEnum):
    """What happens to a finished sum after bias, multiplier, rounding shift and saturation."""

    NARROW = 0  # to data_bits
    WIDE = 1  # to wide_bits
    ADD = 2  # to wide_bits, plus the residual at the same place, saturated
    GELU = 3  # to wide_bits, GELU, second multiplier and shift, to data_bits
    WEIGH = 4  # to wide_bits, times the gate score, plus the residual of the queue's token


class ScaleSource(IntEnum):
    """Where the multiplier and shift of an output come from; bias is added only with COLUMN."""

    COLUMN = 0  # parameters loaded with the stationary operand
    COMMAND = 1  # post_multiplier and post_shift of the command
    ROW = 2  # row statistics that the vector unit left


class VectorOp(IntEnum):
    """What the vector unit does with each row."""

    LAYERNORM = 0
    SOFTMAX = 1
    SCALE = 2
    ROUTE = 3


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a command: unsigned, `width` bits, next after the one before it."""

    name: str
    width: int
    doc: str


HEADER = (
    Field("unit", 4, "Unit that executes the command; END stops"),
    Field("tag", 12, "free for tools: step number modulo 4096"),
    *(Field(name, COUNT_BITS, "completed commands to wait for") for name in WAITS),
)

_COPY = (
    Field("address", 40, "byte address in memory, a multiple of the bus width"),
    Field("rows", 16, "number of contiguous pieces"),
    Field("row_beats", 16, "bus beats of each piece"),
    Field("row_pitch", 32, "bytes in memory from one piece to the next"),
    Field("buffer", 4, "Buffer copied into or from"),
    Field("line", 24, "first bus-beat address in the buffer"),
    Field("line_pitch", 16, "bus beats in the buffer from one piece to the next"),
)

EXPERT = Field(
    "expert", 8, "0, or 1 + expert: its queue's tokens count, and an empty queue skips the command"
)

PLACE = Field(
    "place",
    14,
    "0, or 1 + place * tokens_per_beat + bank: that one token of the expert's queues; a command "
    "for a place that no token has is skipped",
)
ARRAYS = ("linear", "attention", "expert")  # kinds of products, by their number in commands
ARRAY = Field(
    "array", 2, "kind of product, where each has its array: 0 linear, 1 attention, 2 expert"
)

Fields = Mapping[Unit, tuple[Field, ...]]
"""The fields of each unit's commands: those of one machine."""

FIELDS: Fields = {
    Unit.LOAD: (
        *_COPY,
        Field("gather", 1, "reserved: pieces chosen by an index list"),
        EXPERT,
        PLACE,
    ),
    Unit.STORE: _COPY,
    Unit.STATIONARY: (
        Field("source_kv", 1, "0 weights, 1 K/V scratchpad"),
        Field("row_mode", 1, "0 a column of the array per cycle (weights, K); 1 a row (V)"),
        Field("mode", 4, "weight format: 0 dense, else 1 + place in the spec's sparsity list"),
        Field("n_tiles", 16, "tiles along the outputs (outer loop)"),
        Field("k_tiles", 16, "tiles along the contraction (inner loop)"),
        Field("base", 24, "first weight line; or K/V word of token 0"),
        Field("index_base", 24, "first index line"),
        Field("param_base", 16, "first parameter column"),
        Field("use_params", 1, "load bias, multiplier and shift of each output column"),
        Field("position", 16, "K/V: value in a token's words where tile 0 begins"),
        Field("pitch", 16, "K/V: words from one row of tokens to the next"),
        Field("k_valid", 16, "row mode: tokens that are real; rows beyond are zero"),
        EXPERT,
        PLACE,
        ARRAY,
    ),
    Unit.STREAM: (
        Field("source", 4, "Buffer of the activations: INPUT, ACT or VEC"),
        Field("mode", 4, "weight format, as in STATIONARY"),
        Field("beats", 16, "rows of tokens: ceil(tokens / tokens_per_beat)"),
        Field("odd", 1, "the last row has a token in bank 0 only; nothing is written for bank 1"),
        Field("n_tiles", 16, "tiles along the outputs (outer loop)"),
        Field("k_tiles", 16, "tiles along the contraction (inner loop)"),
        Field("base", 24, "first word"),
        Field("position", 16, "value in a token's words where the contraction begins"),
        Field("pitch", 16, "words from one row of tokens to the next"),
        Field("dest", 4, "Buffer of the results: ACT, KV, SCORE or RESIDUAL"),
        Field("dest_base", 24, "first word"),
        Field("dest_pitch", 16, "words from one row of tokens to the next"),
        Field("dest_position", 16, "value in a token's words where tile 0 is written"),
        Field("epilogue", 4, "Epilogue"),
        Field("scale_source", 2, "ScaleSource"),
        Field("rowstat_base", 16, "first row of the row statistics"),
        Field("post_multiplier", 16, "GELU: second multiplier; from COMMAND: the multiplier"),
        Field("post_shift", 6, "GELU: second shift; from COMMAND: the shift"),
        EXPERT,
        Field("gather", 1, "the activations are those of the queue's tokens"),
        PLACE,
        ARRAY,
    ),
    Unit.VECTOR: (
        Field("op", 4, "VectorOp"),
        Field("source", 4, "Buffer read: SCORE or RESIDUAL"),
        Field("base", 24, "first word"),
        Field("pitch", 16, "words from one row of tokens to the next"),
        Field("token", 16, "first token read"),
        Field("tokens", 16, "number of tokens"),
        Field("beats", 16, "beats of `lanes` values per token"),
        Field("valid", 16, "values per token that are real; the rest is written as zero"),
        Field("dest", 4, "Buffer written: VEC, KV or RESIDUAL"),
        Field("dest_base", 24, "first word"),
        Field("dest_pitch", 16, "words from one row of tokens to the next"),
        Field("dest_token", 16, "token place where the first token is written"),
        Field("position", 16, "value in a source token's words where the row begins"),
        Field("dest_position", 16, "value in a destination token's words where it is written"),
        Field("norm_base", 16, "LAYERNORM: first word of gain and offset"),
        Field("rowstat_base", 16, "SOFTMAX: first row of the row statistics"),
        Field("multiplier", 16, "LAYERNORM: unused; SOFTMAX: output scale; SCALE: multiplier"),
        Field("shift", 6, "SCALE, SOFTMAX: shift; LAYERNORM: final shift"),
        Field("top", 3, "ROUTE: experts of a token"),
        Field("reciprocal", 32, "LAYERNORM: fixed-point 1 / valid"),
        Field("epsilon", 40, "LAYERNORM: epsilon in the units of the variance sum"),
        Field("passes", 2, "SOFTMAX: passes over the scores, as models.softmax; 0 is one pass"),
        Field("append", 1, "ROUTE: tokens join those that are in the queues; 0 empties them first"),
    ),
    Unit.END: (),
}

Command = dict[str, int]


def layout(unit: Unit, fields: Fields = FIELDS) -> tuple[tuple[Field, int], ...]:
    """Return the fields of a unit's command with the bit where each begins."""
    out, bit = [], 0
    for field in (*HEADER, *fields[unit]):
        out.append((field, bit))
        bit += field.width
    assert bit <= 8 * COMMAND_BYTES
    return tuple(out)


def encode(command: Mapping[str, int], fields: Fields = FIELDS) -> bytes:
    """Pack one command, given by field name, into its 64 bytes (little endian)."""
    unit = Unit(command["unit"])
    known = layout(unit, fields)
    unknown = set(command) - {field.name for field, _ in known}
    if unknown:
        raise ValueError(f"{unit.name} commands have no field {sorted(unknown)}")
    word = 0
    for field, bit in known:
        value = int(command.get(field.name, 0))
        if not 0 <= value < 1 << field.width:
            raise ValueError(
                f"{unit.name}.{field.name} must be in 0..{(1 << field.width) - 1}, not {value}"
            )
        word |= value << bit
    return word.to_bytes(COMMAND_BYTES, "little")


def decode(data: bytes, fields: Fields = FIELDS) -> Command:
    """Unpack one command."""
    word = int.from_bytes(data, "little")
    unit = Unit(word & 0xF)
    return {f.name: (word >> bit) & ((1 << f.width) - 1) for f, bit in layout(unit, fields)}


def assemble(commands: Iterable[Mapping[str, int]], fields: Fields = FIELDS) -> NDArray[np.uint8]:
    """Pack commands one after another."""
    return np.frombuffer(b"".join(encode(c, fields) for c in commands), dtype=np.uint8)
