"""The floating-point formats of training: fp16, bf16 and fp32, as bit patterns (IEEE 754-2019).

Operands of products are fp16 or bf16, everything else is fp32. Subnormals count in all of them.
A NaN is always the one quiet NaN of its format: sign 0, the fraction's highest bit alone. Any
other NaN is read as a NaN too, but never comes out.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class FloatFormat:
    """A binary format: one sign bit, `exponent_bits`, `fraction_bits` behind the leading one."""

    name: str
    exponent_bits: int
    fraction_bits: int

    def __str__(self) -> str:
        return self.name

    @property
    def bits(self) -> int:
        """Width of a pattern."""
        return 1 + self.exponent_bits + self.fraction_bits

    @property
    def significand_bits(self) -> int:
        """Fraction with its leading one."""
        return self.fraction_bits + 1

    @property
    def bias(self) -> int:
        """Exponent field of 1.0."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def top_exponent(self) -> int:
        """Exponent field of infinity and NaN."""
        return (1 << self.exponent_bits) - 1

    @property
    def infinity(self) -> int:
        """Pattern of plus infinity."""
        return self.top_exponent << self.fraction_bits

    @property
    def nan(self) -> int:
        """Pattern of the only NaN that comes out."""
        return self.infinity | 1 << (self.fraction_bits - 1)

    @property
    def sign(self) -> int:
        """The sign's bit."""
        return 1 << (self.bits - 1)

    @property
    def largest(self) -> int:
        """Pattern of the largest finite number."""
        return self.infinity - 1

    @property
    def normal_exponent_bits(self) -> int:
        """Signed bits that hold the exponent field of any number once subnormals are normalised.

        It reaches from ``1 - fraction_bits`` to ``top_exponent``.
        """
        return self.exponent_bits + 1


FP16 = FloatFormat(name="fp16", exponent_bits=5, fraction_bits=10)
BF16 = FloatFormat(name="bf16", exponent_bits=8, fraction_bits=7)
FP32 = FloatFormat(name="fp32", exponent_bits=8, fraction_bits=23)

FORMATS = {fmt.name: fmt for fmt in (FP16, BF16, FP32)}
"""All formats by name."""
OPERANDS = (FP16, BF16)
"""Formats of the array's operands."""
