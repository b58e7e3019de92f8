"""Rows of floating-point values for the training machine's units, and words of them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from moesaic.models.float_arithmetic import Floats, from_words
from moesaic.models.float_format import FP32
from tests import float_cases
from tests.float_cases import Ints


def rows_of(rng: np.random.Generator, rows: int, channels: int) -> Floats:
    """Return (rows, channels) whose sums depend on the order; every few rows, special values.

    A row is of like magnitudes, of all, of any patterns, or of special values and few others.
    """
    like = rng.normal(size=(rows, channels))
    with np.errstate(over="ignore", under="ignore"):
        spread = (like * 2.0 ** rng.integers(-14, 14, (rows, channels))).astype(np.float32)
        edge = (like * 2.0 ** rng.integers(-150, -120, (rows, channels))).astype(np.float32)
    wild = from_words(float_cases.numbers(rng, rows * channels, FP32).astype(np.uint32))
    special = from_words(rng.choice(float_cases.special(FP32), rows * channels).astype(np.uint32))
    seldom = np.where(
        rng.random((rows, channels)) < 1 / channels, special.reshape(rows, channels), spread
    )
    zeros = np.where(rng.random((rows, channels)) < 0.5, -0.0, 0.0).astype(np.float32)
    kind = rng.choice(6, (rows, 1), p=[0.2, 0.3, 0.1, 0.1, 0.2, 0.1])
    choices = [like.astype(np.float32), spread, edge, wild.reshape(rows, channels), seldom, zeros]
    return np.select([kind == i for i in range(6)], choices)


def patterns(values: Floats) -> list[list[int]]:
    """Return the patterns of fp32 numbers as they are, NaN of all kinds among them."""
    lines: list[list[int]] = np.ascontiguousarray(values, np.float32).view(np.uint32).tolist()
    return lines


def garbage(rng: np.random.Generator, count: int) -> list[int]:
    """Return patterns of fp32 numbers that must not count."""
    words: list[int] = float_cases.numbers(rng, count, FP32).tolist()
    return words


def word(values: Sequence[int], bits: int) -> int:
    """Return values as one integer, the first one lowest."""
    return sum(int(value) << (bits * i) for i, value in enumerate(values))


def split(words: Sequence[int] | Ints, bits: int, count: int) -> NDArray[np.int64]:
    """Return (words, count) of the values in words."""
    mask = (1 << bits) - 1
    lines = [[int(line) >> (bits * i) & mask for i in range(count)] for line in words]
    return np.array(lines, dtype=np.int64).reshape(-1, count)
