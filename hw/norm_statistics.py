"""LayerNorm's first sweep: running sums, variance and mean of a row."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.vector_lane import MEAN_BITS, lower_bits, upper_bits
from moesaic.models.accel import AccelSpec
from moesaic.models.layernorm import (
    EPSILON_BITS,
    MAX_VALID_LOG2,
    RECIPROCAL_BITS,
    cut_bits,
    mean_fraction,
)
from moesaic.models.pipeline import log2

VARIANCE_BITS = 60
SPLIT = 15  # of the sum, for its square
SQUARES_SPLIT = 24
TOTAL_SPLIT = 17


class NormStatistics(wiring.Component):
    """Add up the beats of a row; five cycles after its last one, show its variance and mean.

    One beat a cycle, rows back to back, no back-pressure. The results belong to the sums of six
    cycles ago.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    first : ``In(1)``, with the sums: the beat begins a row.
    squares, uppers, lowers : ``In``, sums over the lanes.
    valid, reciprocal, epsilon : ``In``, fields of the command.
    variance : ``Out(60)``, ``n * sum(u**2) - sum(u)**2 + epsilon``.
    mean : ``Out(signed(26))``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        levels = log2(spec.lanes)
        upper = upper_bits(spec)
        super().__init__(
            {
                "first": In(1),
                "squares": In(2 * upper - 1 + levels),
                "uppers": In(signed(upper + levels)),
                "lowers": In(lower_bits(spec) + levels),
                "valid": In(16),
                "reciprocal": In(32),
                "epsilon": In(EPSILON_BITS),
                "variance": Out(VARIANCE_BITS),
                "mean": Out(signed(MEAN_BITS)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        cut = cut_bits(spec.wide_bits)
        upper = upper_bits(spec)

        # Cycle 1: running sums.
        squares = Signal(2 * upper - 1 + MAX_VALID_LOG2)
        uppers = Signal(signed(upper + MAX_VALID_LOG2))
        lowers = Signal(lower_bits(spec) + MAX_VALID_LOG2)
        for total, more in (
            (squares, self.squares),
            (uppers, self.uppers),
            (lowers, self.lowers),
        ):
            m.d.sync += total.eq(Mux(self.first, 0, total) + more)

        self._variance(m, squares, uppers)
        self._mean(m, (uppers << cut) + lowers)
        return m

    def _variance(self, m: Module, squares: Signal, uppers: Signal) -> None:
        """Cycles 2 and 3: products of at most 24 by 18 bits; 4 to 6: their sums."""
        n = self.valid[: MAX_VALID_LOG2 + 1]
        high, low = uppers[SPLIT:].as_signed(), uppers[:SPLIT]
        products = []
        for name, product in (
            ("n_low", n * squares[:SQUARES_SPLIT]),
            ("n_high", n * squares[SQUARES_SPLIT:]),
            ("low_low", low * low),
            ("high_low", high * low),
            ("high_high", high * high),
        ):
            once = Signal(product.shape(), name=name)
            twice = Signal(product.shape(), name=f"{name}_late")
            m.d.sync += [once.eq(product), twice.eq(once)]
            products.append(twice)
        n_low, n_high, low_low, high_low, high_high = products

        n_squares = Signal(VARIANCE_BITS)
        square = Signal(VARIANCE_BITS)
        difference = Signal(VARIANCE_BITS)
        m.d.sync += [
            n_squares.eq((n_high << SQUARES_SPLIT) + n_low),
            square.eq(Cat(low_low, high_high) + (high_low << (SPLIT + 1))),
            difference.eq(n_squares - square),
            self.variance.eq(difference + self.epsilon),
        ]

    def _mean(self, m: Module, total: Signal) -> None:
        """Cycle 2: sum; 3: aligned to n; 4: products; 5: their sum; 6: rounded."""
        bits = self.spec.wide_bits + MAX_VALID_LOG2
        reciprocal = self.reciprocal[:RECIPROCAL_BITS]
        exponent = self.reciprocal[RECIPROCAL_BITS:][:4]
        drop = RECIPROCAL_BITS - 1 + MAX_VALID_LOG2 - mean_fraction(self.spec.wide_bits)

        plain = Signal(signed(bits))
        aligned = Signal(signed(bits))
        low = Signal(TOTAL_SPLIT + RECIPROCAL_BITS)
        high = Signal(signed(bits - TOTAL_SPLIT + RECIPROCAL_BITS))
        whole = Signal(signed(bits + RECIPROCAL_BITS))
        m.d.sync += [
            plain.eq(total),
            aligned.eq(plain << (Const(MAX_VALID_LOG2, 4) - exponent)[:4]),
            low.eq(aligned[:TOTAL_SPLIT] * reciprocal),
            high.eq(aligned[TOTAL_SPLIT:].as_signed() * reciprocal),
            whole.eq((high << TOTAL_SPLIT) + low),
            self.mean.eq((whole + (1 << (drop - 1))) >> drop),
        ]
