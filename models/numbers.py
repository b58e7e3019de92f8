"""Numbers that an accelerator computes with: integers, or one of the formats of training."""

from typing import TYPE_CHECKING

from moesaic.models.errors import InputError
from moesaic.models.float_format import OPERANDS

if TYPE_CHECKING:
    from moesaic.models.accel import AccelSpec

INTEGER = "integer"
NUMBERS = (INTEGER, *(fmt.name for fmt in OPERANDS))
FEWEST = 8
"""So that a tile takes longer than a partial sum needs to come back: ``ACCUMULATE_GAP`` cycles."""


def check_numbers(spec: "AccelSpec") -> None:
    """Refuse numbers that are unknown, and what a machine for training cannot have."""
    if spec.numbers not in NUMBERS:
        raise InputError(f"numbers must be one of {', '.join(NUMBERS)}, not {spec.numbers!r:.60}")
    if spec.numbers == INTEGER:
        return
    numbers = f"with numbers {spec.numbers}"
    for name, value in (("data_bits", 16), ("tokens_per_beat", 1), ("experts", 0)):
        if getattr(spec, name) != value:
            raise InputError(f"{name} must be {value} {numbers}, not {getattr(spec, name)}")
    for name in ("rows", "columns"):
        if getattr(spec, name) < FEWEST:
            raise InputError(
                f"{name} must be at least {FEWEST} {numbers}, not {getattr(spec, name)}"
            )
    if spec.columns != spec.lanes:
        raise InputError(f"columns must be lanes ({spec.lanes}) {numbers}, not {spec.columns}")
    for mode in spec.sparsity:
        if mode.m > spec.lanes:
            raise InputError(
                f"M of sparsity must be at most lanes ({spec.lanes}) {numbers}, not {mode}"
            )
    if spec.sparsity and 2 * spec.index_lines < spec.weight_lines:
        raise InputError(
            f"index_lines must be at least weight_lines / 2 = {spec.weight_lines // 2} {numbers}, "
            f"not {spec.index_lines}"
        )
