"""Counting leading zeros, as a tree."""

from amaranth.hdl import Cat, Const, Mux, Value

from moesaic.models.pipeline import log2


def leading_zeros(value: Value) -> Value:
    """Return how many zeros stand above the highest one.

    As many bits as the count of `value`'s bits needs. Without a one it is the largest count of
    these bits: a value of 28 bits counts from 0 to 27, or 31.
    """
    width = 1 << (len(value) - 1).bit_length()
    return _count(Cat(Const(0, width - len(value)), value))


def _count(value: Value) -> Value:
    if len(value) == 2:
        return ~value[1]
    half = 1 << (log2(len(value)) - 1)
    empty = ~value[half:].any()
    return Cat(Mux(empty, _count(value[:half]), _count(value[half:])), empty)
