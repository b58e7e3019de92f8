"""One accumulator lane: partial sums of all tokens of one column, and the epilogue behind them."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.column import sum_bits
from moesaic.hw.delay import delay
from moesaic.hw.gelu import Gelu
from moesaic.hw.gelu_polynomial import GeluPolynomial
from moesaic.hw.requant import Requant
from moesaic.models import pipeline
from moesaic.models.accel import AccelSpec
from moesaic.models.gelu import output_bits
from moesaic.models.pipeline import log2
from moesaic.models.requant import BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS, limits

GELUS: dict[str, type[Gelu | GeluPolynomial]] = {"table": Gelu, "polynomial": GeluPolynomial}


class Lane(wiring.Component):
    """Accumulate a column's sums over the contraction tiles, then requantise and finish them.

    One sum a cycle, no back-pressure. With a sum on `sum` in cycle 0, `read_row` is due in cycle
    -1, `write_row` and `write` in cycle 1, parameters in cycle 1, the second requantisation's in
    cycle ``POST_AT``, `use_post` in cycle ``SELECT_AT``, `residual` in cycle ``RESIDUAL_AT``;
    results are there in cycle ``LATENCY``.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    sum, first : ``In``, a column's sum, and whether it starts a new accumulation.
    read_row, write_row, write : ``In``, place of the partial sum.
    bias, multiplier, shift, unbiased : ``In``, requantisation; `unbiased` leaves the bias out.
    weigh : ``In(1)``, the second requantisation takes the first one's result, not GELU of it.
    post_multiplier, post_shift : ``In``, second requantisation.
    use_post : ``In(1)``, its result counts.
    residual : ``In``, wide value to add, or zero.
    narrow, wide : ``Out``, the result in both widths; the destination takes the one that it holds.
    """

    POST_AT = pipeline.POST_AT
    SELECT_AT = pipeline.SELECT_AT
    RESIDUAL_AT = pipeline.RESIDUAL_AT
    LATENCY = pipeline.LANE

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        row = log2(spec.psum_depth)
        super().__init__(
            {
                "sum": In(signed(sum_bits(spec))),
                "first": In(1),
                "read_row": In(row),
                "write_row": In(row),
                "write": In(1),
                "bias": In(signed(BIAS_BITS)),
                "unbiased": In(1),
                "multiplier": In(MULTIPLIER_BITS),
                "shift": In(SHIFT_BITS),
                "post_multiplier": In(MULTIPLIER_BITS),
                "post_shift": In(SHIFT_BITS),
                "residual": In(signed(spec.wide_bits)),
                "weigh": In(1),
                "use_post": In(1),
                "narrow": Out(signed(spec.data_bits)),
                "wide": Out(signed(spec.wide_bits)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        acc = self._accumulate(m)

        biased = Signal(signed(spec.acc_bits))
        multiplier = Signal(MULTIPLIER_BITS)
        shift = Signal(SHIFT_BITS)
        m.d.sync += [
            biased.eq(acc + Mux(self.unbiased, 0, self.bias)),
            multiplier.eq(self.multiplier),
            shift.eq(self.shift),
        ]
        m.submodules.requant = requant = Requant(acc_bits=spec.acc_bits, out_bits=spec.wide_bits)
        m.d.comb += [
            requant.acc.eq(biased),
            requant.multiplier.eq(multiplier),
            requant.shift.eq(shift),
        ]
        y = requant.result

        m.submodules.gelu = gelu = GELUS[spec.gelu](wide_bits=spec.wide_bits)
        m.submodules.post = post = Requant(
            acc_bits=output_bits(spec.wide_bits), out_bits=spec.wide_bits
        )
        late = delay(m, y, self.POST_AT - pipeline.GELU_AT, "late")
        m.d.comb += [
            gelu.x.eq(y),
            post.acc.eq(Mux(self.weigh, late, gelu.y) if spec.experts else gelu.y),
            post.multiplier.eq(self.post_multiplier),
            post.shift.eq(self.post_shift),
        ]

        chosen = Signal(signed(spec.wide_bits))
        plain = delay(m, late, self.SELECT_AT - self.POST_AT, "plain")
        m.d.sync += [
            chosen.eq(Mux(self.use_post, post.result, plain)),
            self.wide.eq(_clamp(chosen + self.residual, spec.wide_bits)),
            self.narrow.eq(_clamp(chosen, spec.data_bits)),
        ]
        return m

    def _accumulate(self, m: Module) -> Signal:
        """Partial sums: read in cycle -1, add in cycle 0, write in cycle 1."""
        spec = self.spec
        m.submodules.psum = psum = Memory(
            shape=signed(spec.acc_bits), depth=spec.psum_depth, init=[]
        )
        read = psum.read_port()
        write = psum.write_port()
        acc = Signal(signed(spec.acc_bits))
        m.d.comb += [
            read.addr.eq(self.read_row),
            write.addr.eq(self.write_row),
            write.data.eq(acc),
            write.en.eq(self.write),
        ]
        m.d.sync += acc.eq(Mux(self.first, 0, read.data) + self.sum)
        return acc


def _clamp(value: object, bits: int) -> object:
    """Saturate a signed value."""
    low, high = limits(bits)
    return Mux(value > high, high, Mux(value < low, low, value))  # type: ignore[operator]
