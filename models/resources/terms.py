"""What the resources of each kind of module grow with.

A kind is a Component of the hierarchy by its place there, such as ``lane_requant``. Its LUTs and
registers are sums of terms, such as the bits of an adder tree, each times a coefficient that is
fitted on synthesised modules. A key names the coefficients: ``lane@8`` for lanes of 8 bits.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.resources.memory import bank_bits, memory

Terms = dict[str, float]


class Part(NamedTuple):
    """A kind of module in one accelerator: placements, key of its coefficients, terms."""

    places: int
    key: str
    terms: Terms


Kinds = dict[str, Part]
ONE: Terms = {"one": 1}
"""The terms of what depends on no parameter."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """An accelerator's parameters as terms take them.

    Parameters
    ----------
    spec : AccelSpec
    target : str
        ``xcup`` or ``ecp5``: how many inputs of a multiplexer a LUT takes.
    """

    spec: AccelSpec
    target: str

    def mux(self, inputs: int) -> float:
        """Return the LUTs of one bit that is chosen from so many."""
        if inputs <= 1:
            return 0
        return max(1.0, (inputs - 1) / 3) if self.target == "xcup" else max(1.0, inputs / 2)

    @cached_property
    def common(self) -> Terms:
        """Return what control may depend on, in logarithms."""
        spec = self.spec
        return {
            "one": 1,
            "int16": spec.data_bits == 16,
            "tokens": spec.tokens_per_beat == 2,
            "experts": spec.experts > 0,
            "experts_tokens": (spec.experts > 0) * (spec.tokens_per_beat == 2),
        }

    @property
    def width(self) -> Terms:
        """Return the terms of what depends on the width of the data alone."""
        return {"one": 1, "int16": self.spec.data_bits == 16}

    def logs(self, **values: int) -> Terms:
        """Return `common`, and logarithms that widths grow or shrink with."""
        out = dict(self.common)
        for name, value in values.items():
            out[name] = log2(value)
            out[f"less_{name}"] = 16 - log2(value)
        return out

    @property
    def arrays(self) -> int:
        """Arrays side by side."""
        return 3 if self.spec.arrays == "separate" else 1

    @property
    def container(self) -> int:
        """Bits of a wide value in a scratchpad."""
        return 8 * self.spec.wide_bytes


def adder_tree(inputs: int, width: int, *, step: int = 4, grow: bool = True) -> tuple[int, int]:
    """Return the bits of registers and of adders in a tree with a register for each `step`."""
    registers = adders = 0
    while inputs > 1:
        taken = min(step, inputs)
        level = inputs
        while taken > 1:
            level //= 2
            width += grow
            adders += level * width
            taken //= 2
        inputs //= min(step, inputs)
        registers += inputs * width
    return registers, adders


def memory_terms(target: str, width: int, depth: int, slices: int = 1) -> Terms:
    """Return the terms of a memory whose slices have one address."""
    mapped = memory(target, width, depth)
    bits = slices * width
    several = mapped.banks > 1
    return {
        "bits": bits,
        "luts": slices * mapped.luts,
        "registers": bits if mapped.luts else 0,
        "block_bits": bits if mapped.blocks else 0,
        "block": mapped.blocks > 0,
        "block_depth": log2(depth) if mapped.blocks else 0,
        "banks": bits * (mapped.banks / 4 if mapped.banks > 4 else several),
        "choices": slices * mapped.banks if several else 0,
        "bank_bits": bank_bits(mapped.banks),
    }
