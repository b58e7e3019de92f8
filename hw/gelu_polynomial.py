"""GELU with a polynomial in place of the error function: one lane, three products."""

from amaranth.hdl import Module, Mux, Signal, Value

from moesaic.hw.delay import delay
from moesaic.hw.gelu import Gelu
from moesaic.models.gelu import input_fraction, output_fraction
from moesaic.models.gelu_polynomial import (
    END,
    LINE_BITS,
    POINT,
    PRODUCT_FRACTION_BITS,
    REST_BITS,
    REST_FRACTION_BITS,
    SCALE,
    SQUARE_BITS,
    SQUARE_FRACTION_BITS,
    line_drop,
)


class GeluPolynomial(Gelu):
    """Return :func:`moesaic.models.gelu_polynomial.gelu_polynomial` of one wide value.

    Parameters, members and latency are those of :class:`moesaic.hw.gelu.Gelu`.
    """

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.wide_bits
        fraction = input_fraction(bits)
        near_bits = END.bit_length() - POINT + fraction  # of every magnitude below the end

        # Cycle 1: magnitude; 2: distance to the end, line; 3: square; 4: product; 5: difference.
        magnitude = Signal(bits)
        relu = Signal(bits - 1)
        m.d.sync += [
            magnitude.eq(Mux(self.x < 0, -self.x, self.x)),
            relu.eq(Mux(self.x < 0, 0, self.x)),
        ]
        distance = END - (magnitude << (POINT - fraction))
        near = magnitude[:near_bits]
        rest = Signal(REST_BITS)
        line = Signal(LINE_BITS)
        square = Signal(SQUARE_BITS)
        product = Signal(LINE_BITS + SQUARE_BITS)
        m.d.sync += [
            rest.eq(_rounded(Mux(distance < 0, 0, distance), POINT - REST_FRACTION_BITS)),
            line.eq(_rounded(near * SCALE, line_drop(bits))),
            square.eq(_rounded(rest * rest, 2 * REST_FRACTION_BITS - SQUARE_FRACTION_BITS)),
            product.eq(delay(m, line, 1, "line") * square),
        ]
        whole = delay(m, relu, 3, "relu") << (PRODUCT_FRACTION_BITS - fraction)
        m.d.sync += self.y.eq(
            _rounded(whole - product, PRODUCT_FRACTION_BITS - output_fraction(bits))
        )
        return m


def _rounded(value: Value, drop: int) -> Value:
    """Drop bits, rounded to the nearest; ties upwards."""
    return (value + (1 << drop >> 1)) >> drop
