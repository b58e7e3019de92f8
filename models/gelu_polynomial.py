"""GELU with a polynomial in place of the error function: no table, two coefficients.

I-BERT (Kim et al. 2021, arXiv 2101.01321, section 3.4) takes ``erf(u)`` as ``a * (u + b)**2 + 1``
up to ``u = -b`` and as one beyond, odd in u. With ``u = t / sqrt(2)`` and ``t = abs(x)`` its GELU
is ``relu(x) - delta(t)``, where ``delta(t) = scale * t * (end - t)**2`` up to the end and zero
beyond, with ``scale = -a / 4`` and ``end = -b * sqrt(2)``.
"""

from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from moesaic.models.gelu import input_fraction, output_fraction

Ints = NDArray[np.int64]

_A, _B = Fraction("-0.2888"), Fraction("-1.769")
_ROOT_2 = Fraction("1.41421356237309504880168872420969807856967187537694")

POINT = 18  # fraction bits of the finest input, and of the distance to the end
END = round(-_B * _ROOT_2 * 2**POINT)
SCALE_FRACTION_BITS = 20
SCALE = round(-_A / 4 * 2**SCALE_FRACTION_BITS)

# Fraction bits of three intermediate values, and all their bits: what DSP48E2 blocks multiply.
REST_FRACTION_BITS, REST_BITS = 15, 17  # end - t, from 0 to 2.502
SQUARE_FRACTION_BITS, SQUARE_BITS = 23, 26  # its square, to 6.26
LINE_FRACTION_BITS, LINE_BITS = 19, 17  # scale * t, to 0.1807
PRODUCT_FRACTION_BITS = LINE_FRACTION_BITS + SQUARE_FRACTION_BITS


def line_drop(wide_bits: int) -> int:
    """Return the bits that ``scale * t`` is rounded by."""
    return SCALE_FRACTION_BITS + input_fraction(wide_bits) - LINE_FRACTION_BITS


def gelu_polynomial(y: Ints, wide_bits: int) -> Ints:
    """Return I-BERT's GELU of wide codes.

    Parameters
    ----------
    y : Ints
        Codes of `wide_bits` signed bits with ``input_fraction(wide_bits)`` fraction bits.
    wide_bits : int
        16 or 24.

    Returns
    -------
    Ints
        ``output_bits(wide_bits)`` signed bits with ``output_fraction(wide_bits)`` fraction bits, as
        those of :func:`moesaic.models.gelu.gelu`.
    """
    magnitude = np.abs(y)
    distance = END - (magnitude << (POINT - input_fraction(wide_bits)))
    rest = _rounded(np.maximum(distance, 0), POINT - REST_FRACTION_BITS)
    square = _rounded(rest * rest, 2 * REST_FRACTION_BITS - SQUARE_FRACTION_BITS)
    line = _rounded(SCALE * magnitude, line_drop(wide_bits))
    relu = np.maximum(y, 0) << (PRODUCT_FRACTION_BITS - input_fraction(wide_bits))
    return _rounded(relu - line * square, PRODUCT_FRACTION_BITS - output_fraction(wide_bits))


def _rounded(value: Ints, drop: int) -> Ints:
    """Drop bits, rounded to the nearest; ties upwards."""
    return (value + (1 << drop >> 1)) >> drop
