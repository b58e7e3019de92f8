"""The one small operator list that every file format is brought to, and the tool that writes it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.errors import InputError

Array = NDArray[Any]
UNSUPPORTED = "unsupported"
OP_LIMIT = 100_000
ELEMENT_LIMIT = 1 << 24
COMPUTED_LIMIT = 1 << 28


class UnsupportedError(Exception):
    """One operator cannot be part of an encoder; the text says why, or is empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Op:
    """One operator.

    `kind` is its meaning (a key of `meaning.VIEWS`, `meaning.NUMBERS` or `tracer.HANDLERS`, or
    UNSUPPORTED), `label` what the file calls it. Inputs are value names, ``""`` where left out.
    """

    kind: str
    label: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Operators in order, from one input of known shape (batch 1) to one output."""

    input_name: str
    input_shape: tuple[int, ...]
    constants: dict[str, Array]
    ops: tuple[Op, ...]
    output_name: str

    def live(self) -> tuple[Op, ...]:
        """Return the operators that the output depends on."""
        needed, kept = {self.output_name}, []
        for op in reversed(self.ops):
            if needed.intersection(op.outputs):
                kept.append(op)
                needed.update(op.inputs)
        return tuple(reversed(kept))


class Emitter:
    """Collects operators; `label` is the file's name of the operator being lowered."""

    def __init__(self, constants: dict[str, Array]) -> None:
        self.constants = constants
        self.ops: list[Op] = []
        self.label = ""

    def constant(self, value: Any) -> str:
        """Add a constant and return its name."""
        name = f"\0{len(self.constants)}"  # no name in a file begins so
        self.constants[name] = np.asarray(value)
        return name

    def emit(
        self, kind: str, *inputs: str, outputs: Sequence[str] | None = None, **attributes: Any
    ) -> str:
        """Add an operator and return the name of its first output."""
        if len(self.ops) >= OP_LIMIT:
            raise InputError(f"must have at most {OP_LIMIT} operators")
        names = tuple(outputs) if outputs else (f"\0op{len(self.ops)}",)
        self.ops.append(
            Op(kind=kind, label=self.label, inputs=inputs, outputs=names, attributes=attributes)
        )
        return names[0]


def check_input(name: str, shape: Sequence[int | None], allowed: int = 1 << 24) -> tuple[int, ...]:
    """Return the shape with batch 1; `shape` has None where a size is dynamic."""
    sizes = [1 if place == 0 and size is None else size for place, size in enumerate(shape)]
    if any(size is None or size < 1 for size in sizes):
        raise InputError(f"input {name!r:.60}: only the batch may be dynamic, not {list(shape)}")
    fixed = [size for size in sizes if size is not None]
    if not 2 <= len(fixed) <= 4:
        raise InputError(f"input {name!r:.60}: must have 2 to 4 dimensions, not {len(fixed)}")
    if len(fixed) > 2 and fixed[0] != 1 and not (len(fixed) == 3 and fixed[1] == 1):
        raise InputError(f"input {name!r:.60}: the batch must be 1 or dynamic, not {fixed[0]}")
    total = 1
    for size in fixed:
        total *= size
    if total > allowed:
        raise InputError(f"input {name!r:.60}: must have at most {allowed} values, not {total}")
    return tuple(fixed)


def check_weights(weights: dict[str, Array]) -> None:
    """Refuse NaN and infinity in weights; single numbers may be infinite (masks are made so)."""
    for name, value in weights.items():
        if value.size > 1 and value.dtype.kind == "f" and not np.isfinite(value).all():
            raise InputError(f"weight {name!r:.80} must be finite, but holds NaN or infinity")
