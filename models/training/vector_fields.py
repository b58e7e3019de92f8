"""Fields of VECTOR commands on the training machine: passes and packings.

Addresses and pitches count slices of `lanes` values, in every memory.
"""

from enum import IntEnum

from moesaic.models.commands import Field


class Memory(IntEnum):
    """What a pass reads: memories by their number in commands."""

    X = 0
    P = 1
    V = 2
    L = 3
    S = 4
    K = 5


class OperandKind(IntEnum):
    """What `p` and `q` of a pass are."""

    NUMBER = 0
    MEMORY = 1  # one value for each of `a`'s; one row for all with pitch 0
    COLUMN = 2  # S: one value for each row
    SELF = 3  # what `a` is


class Target(IntEnum):
    """Where a pass writes."""

    NONE = 0
    X = 1
    V = 2
    S = 3


NUMBER_BITS = 32
ADDRESS_BITS = 24
PITCH_BITS = 16

VECTOR_FIELDS = (
    Field("pack", 1, "1: a packing"),
    Field("combine", 3, "Combine of models.training.passes"),
    Field("function", 3, "Function of models.training.step"),
    Field("watch", 1, "note whether a value that comes out is not finite"),
    Field("rows", 16, "rows"),
    Field("beats", 16, "slices of a row"),
    Field("valid", 16, "values of a row"),
    Field("a_memory", 3, "Memory"),
    Field("a_base", ADDRESS_BITS, "slice of row 0"),
    Field("a_pitch", PITCH_BITS, "slices from row to row"),
    *(
        field
        for name in ("p", "q")
        for field in (
            Field(f"{name}_kind", 2, "OperandKind"),
            Field(f"{name}_memory", 3, "Memory"),
            Field(
                f"{name}_value",
                ADDRESS_BITS + PITCH_BITS,
                "the number's pattern; or slice of row 0, and above it slices from row to row",
            ),
        )
    ),
    Field("target", 2, "Target"),
    Field("transpose", 1, "rows of the result are channels"),
    Field("fill", 1, "X: the rest of a row's last word becomes +0"),
    Field("out_base", ADDRESS_BITS, "slice of the result row 0"),
    Field("out_pitch", PITCH_BITS, "slices from row to row"),
    Field("row_sum", 1, "sums of rows go to S"),
    Field("row_max", 1, "maxima of rows go to S"),
    Field("row_base", ADDRESS_BITS, "slice of S that begins with row 0; packings: first line of W"),
    Field("column_sum", 1, "sums of columns go to K"),
    Field("column_base", PITCH_BITS, "first slice of K"),
    Field("lines", 1, "packings: lines go to W; what is kept in place goes to V with target V"),
    Field("mode", 4, "packings: weight format, as in STATIONARY"),
    Field("index_base", ADDRESS_BITS, "packings: first index line"),
)
