"""Fixed-point arithmetic of Edge-MoE (arXiv 2305.18691), in numpy's integers.

Features are signed, 32 bits with 22 behind the point; a result that is stored loses its lower bits,
towards minus infinity, and its upper bits: it wraps. So say the data types of the released source
(github.com/sharc-lab/Edge-MoE), which leave quantisation and overflow at their defaults. Here each
function returns exact integers in units of 2**-22, before they wrap; `wrap` makes them features.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

Ints = NDArray[np.int64]
Values = NDArray[np.floating[Any]]

FRACTION_BITS = 22
ONE = 1 << FRACTION_BITS
GELU_STEP_LOG2 = 5  # 32 steps to one
GELU_ENTRIES = 177  # of the table of differences, up to 5.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Signed numbers of `bits` bits, of which `integer_bits`, sign included, are not fraction."""

    bits: int
    integer_bits: int

    @property
    def fraction_bits(self) -> int:
        """Bits behind the point."""
        return self.bits - self.integer_bits

    def encode(self, values: NDArray[Any], *, nearest: bool = False) -> tuple[Ints, int]:
        """Return codes of real `values`, rounded down, and how many had to be saturated.

        With `nearest` they are rounded to nearest, half to even.
        """
        scaled = np.asarray(values, dtype=np.float64) * 2.0**self.fraction_bits
        codes = np.rint(scaled) if nearest else np.floor(scaled)
        low, high = -(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1
        outside = int(((codes < low) | (codes > high)).sum())
        return np.clip(codes, low, high).astype(np.int64), outside


FEATURE = Fixed(bits=32, integer_bits=10)
LINEAR_WEIGHT = Fixed(bits=16, integer_bits=2)
PATCH_WEIGHT = Fixed(bits=16, integer_bits=0)
ATTENTION_BIAS = Fixed(bits=16, integer_bits=7)
BIAS = Fixed(bits=16, integer_bits=5)
GAIN = Fixed(bits=16, integer_bits=5)


def wrap(x: Ints) -> Ints:
    """Return the lower 32 bits as a signed number."""
    half = 1 << (FEATURE.bits - 1)
    return ((x + half) & (2 * half - 1)) - half


def wrapped(x: Ints) -> int:
    """Count the values that `wrap` changes."""
    return int((wrap(x) != x).sum())


def multiply(a: Ints, b: Ints | int, fraction_bits: int = FRACTION_BITS) -> Ints:
    """Multiply features by numbers with `fraction_bits` bits behind the point, rounded down."""
    return (a * b) >> fraction_bits


def matmul(a: Ints, b: Ints, fraction_bits: int = FRACTION_BITS) -> Ints:
    """Return ``a @ b`` where each single product is rounded down before it is added."""
    shape = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.zeros((*shape, a.shape[-2], b.shape[-1]), dtype=np.int64)
    for i in range(a.shape[-1]):
        out += multiply(a[..., :, i, np.newaxis], b[..., np.newaxis, i, :], fraction_bits)
    return out


def exponential(x: Ints) -> Ints:
    """Return exp, rounded down; beyond the range of features, their largest."""
    value = np.exp(np.minimum(x / ONE, 7.0)) * ONE  # exp(7) is beyond 512
    return np.minimum(np.floor(value), (1 << (FEATURE.bits - 1)) - 1).astype(np.int64)


def divide(a: Ints | int, b: Ints) -> Ints:
    """Return ``a / b`` of positive numbers, rounded down."""
    return np.asarray((a << FRACTION_BITS) // b)


def root(x: Ints) -> Ints:
    """Return the square root of numbers that are not negative, rounded down."""
    square = x << FRACTION_BITS
    y = np.floor(np.sqrt(square.astype(np.float64))).astype(np.int64)
    y -= y * y > square
    return y + ((y + 1) * (y + 1) <= square)


@cache
def gelu_table() -> Ints:
    """Return ``t * Phi(-t)`` at t = 0, 1/32, .., 5.5, rounded to nearest.

    It is what GELU takes off ReLU; all 177 entries of the source are these.
    """
    t = np.arange(GELU_ENTRIES) / (1 << GELU_STEP_LOG2)
    return np.rint(t * ndtr(-t) * ONE).astype(np.int64)


def gelu(x: Ints) -> Ints:
    """Return GELU: ReLU less a linear interpolation, rounded down; ReLU alone from 5.5 on."""
    table = gelu_table()
    magnitude = np.abs(x)
    segment_bits = FRACTION_BITS - GELU_STEP_LOG2
    inside = magnitude < (GELU_ENTRIES - 1) << segment_bits
    segment = np.where(inside, magnitude >> segment_bits, 0)
    rest = magnitude & ((1 << segment_bits) - 1)
    rise = ((table[segment + 1] - table[segment]) * rest) >> segment_bits
    return np.maximum(x, 0) - np.where(inside, table[segment] + rise, 0)


def softmax_statistics(scores: Ints, starts: Ints) -> tuple[Ints, Ints, int]:
    """Return sum and bias of each row, and how many results wrapped.

    One pass over a row (..., rows, keys), from key ``starts[row]`` on and around: `bias` is the
    largest score so far, and the sum is scaled down when it changes. One exponential for each.
    """
    keys = scores.shape[-1]
    order = (np.arange(keys) + starts[:, np.newaxis]) % keys
    turned = np.take_along_axis(scores, np.broadcast_to(order, scores.shape), axis=-1)
    bias, total = turned[..., 0].copy(), np.full(scores.shape[:-1], ONE, dtype=np.int64)
    wraps = 0
    for key in range(1, keys):
        score = turned[..., key]
        argument = -np.abs(bias - score)
        wraps += wrapped(argument)
        power = exponential(wrap(argument))
        total = np.where(score > bias, multiply(total, power) + ONE, total + power)
        wraps += wrapped(total)
        total = wrap(total)
        bias = np.maximum(bias, score)
    return np.maximum(total, 1), bias, wraps
