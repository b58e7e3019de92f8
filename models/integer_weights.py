"""Integer weights, bias and multipliers of linear layers: symmetric, one scale per output."""

from dataclasses import dataclass

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.network import Floats, Linear
from moesaic.models.requant import BIAS_BITS, Ints, limits, quantise_ratio
from moesaic.models.sparse import check_nm

FRACTIONS = np.linspace(0.7, 1.0, 31)  # of a column's largest magnitude, tried for its scale
SMALLEST_RATIO = 2.0**-24


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerLinear:
    """What a Product holds: (inputs, outputs) weights and (outputs,) parameters."""

    weight: Ints
    bias: Ints
    multiplier: Ints
    shift: Ints


def ratio(value: float, what: str) -> tuple[int, int]:
    """Return multiplier and shift of a scale ratio; InputError that names `what` if none fit."""
    if not 0 <= value < 1 << 15:
        raise InputError(f"{what}: scale ratio must be in 0..{(1 << 15) - 1}, not {value:.4g}")
    multiplier, shift = quantise_ratio(value)
    return (multiplier, shift) if multiplier else (0, 0)


def weight_scales(weight: Floats, bits: int) -> Floats:
    """Return the scale of each column (float64) with the least squared error of its integers.

    16-bit weights take all values. Columns of zeros have scale 0.
    """
    largest = (1 << (bits - 1)) - 1
    top = np.abs(weight).max(axis=0).astype(np.float64) / largest
    if bits > 8:
        return top
    best, least = top.copy(), np.full(top.shape, np.inf)
    safe = np.where(top > 0, top, 1.0)
    for fraction in FRACTIONS:
        scale = (fraction * safe).astype(np.float32)
        error = np.clip(np.rint(weight / scale), -largest, largest) * scale - weight
        total = np.einsum("kn,kn->n", error, error)
        best = np.where((total < least) & (top > 0), fraction * top, best)
        least = np.minimum(total, least)
    return best


def integer_linear(
    linear: Linear, *, scale_in: float, scale_out: float, bits: int
) -> IntegerLinear:
    """Quantise ``x @ weight + bias`` from units of `scale_in` to units of `scale_out`.

    A column's scale is at least what makes its bias fit and its ratio 2**-24: below that its
    weights change the output by less than one unit. InputError where scales do not fit.
    """
    name, weight, bias = linear.name, linear.weight, linear.bias
    scale = weight_scales(weight, bits)
    low, high = limits(BIAS_BITS)
    floor = np.maximum(SMALLEST_RATIO * scale_out, np.abs(bias.astype(np.float64)) / (high >> 1))
    empty = scale == 0  # the bias alone, in units of the output
    scale = np.maximum(scale, np.where(empty, scale_out, floor) / scale_in)
    pairs = [ratio(float(r), name) for r in scale * scale_in / scale_out]
    multiplier, shift = np.array(pairs, dtype=np.int64).T
    # The scale that multiplier and shift stand for exactly: their rounding costs nothing.
    scale = np.ldexp(multiplier.astype(np.float64), -shift) * (scale_out / scale_in)
    largest = (1 << (bits - 1)) - 1
    integers = np.clip(np.rint(weight / scale), -largest, largest).astype(np.int64)
    if linear.nm is not None:
        try:
            check_nm(integers, linear.nm)
        except InputError as error:
            raise InputError(f"{name}: {error}") from error
    biases = np.rint(bias / (scale * scale_in))
    if biases.min() < low or biases.max() > high:
        raise InputError(f"{name}: bias must be in {low}..{high} units of its sums")
    return IntegerLinear(
        weight=integers, bias=biases.astype(np.int64), multiplier=multiplier, shift=shift
    )
