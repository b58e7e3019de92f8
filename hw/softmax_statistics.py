"""Softmax's sweeps before it writes: running maximum and rescaled running sum of a row."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.accel import AccelSpec
from moesaic.models.exp2 import power_bits
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.layernorm import MAX_VALID_LOG2
from moesaic.models.pipeline import log2
from moesaic.models.vector_timing import POWER_LATENCY, tree_latency

GROW_BITS = 6


def total_bits(spec: AccelSpec) -> int:
    """Return the bits of a row's sum of powers."""
    return power_bits(spec.data_bits) + MAX_VALID_LOG2


class SoftmaxStatistics(wiring.Component):
    """Follow the maximum of a row, and rescale its sum by a right shift whenever that grows.

    Where a sweep before has found the maximum (`known`), the recorded one stands for the running
    one, which thus never grows within a row: the sum is relative to the final maximum.

    One beat a cycle, beats of a row without gaps, no back-pressure. Cycles count from `largest`.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    largest : ``In(signed(wide_bits))``, cycle 0, the largest value of a beat.
    first : ``In(1)``, cycle 0, the beat begins a row. `first_sum` : the same with `powers`.
    powers : ``In``, cycle ``2 + POWER_LATENCY + tree_latency(spec)``, the beat's sum of powers.
    recorded : ``In(signed(wide_bits))``, cycle 0, the row's maximum, if a sweep before found it.
    known : ``In(1)``, cycle 0, take it for the running maximum.
    second : ``In(1)``, cycle 1, sweep that writes: take it for the reference.
    maximum : ``Out(signed(wide_bits))``, cycle 1.
    reference : ``Out(signed(wide_bits + 1))``, cycle 2, what powers are relative to.
    total : ``Out``, cycle 1 after `powers`.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "largest": In(signed(spec.wide_bits)),
                "first": In(1),
                "first_sum": In(1),
                "powers": In(power_bits(spec.data_bits) + log2(spec.lanes)),
                "recorded": In(signed(spec.wide_bits)),
                "known": In(1),
                "second": In(1),
                "maximum": Out(signed(spec.wide_bits)),
                "reference": Out(signed(spec.wide_bits + 1)),
                "total": Out(total_bits(spec)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        whole_bits = spec.wide_bits - SCORE_FRACTION_BITS + 1

        # Cycle 1: running maximum.
        keep = ~self.first & (self.maximum > self.largest)
        recorded = Signal(signed(spec.wide_bits))
        m.d.sync += recorded.eq(self.recorded)
        with m.If(~keep | self.known):
            m.d.sync += self.maximum.eq(Mux(self.known, self.recorded, self.largest))

        # Cycle 2: round it up to a whole power, and see by how much that grew.
        ceiling = Signal(signed(whole_bits))
        before = Signal(signed(whole_bits))
        grown = Signal(whole_bits)
        grow = Signal(GROW_BITS)
        m.d.comb += [
            ceiling.eq(
                self.maximum[SCORE_FRACTION_BITS:].as_signed()
                + self.maximum[:SCORE_FRACTION_BITS].any()
            ),
            grown.eq(ceiling - before),
        ]
        limit = (1 << GROW_BITS) - 1
        m.d.sync += [
            before.eq(ceiling),
            grow.eq(Mux(grown[GROW_BITS:].any(), limit, grown)),
            self.reference.eq(
                Mux(
                    self.second,
                    recorded,
                    Cat(Const(0, SCORE_FRACTION_BITS), ceiling).as_signed(),
                )
            ),
        ]

        # With the sum of the beat's powers: rescale and add; a row's first beat begins at zero.
        late = delay(m, grow, POWER_LATENCY + tree_latency(spec), "grow")
        rescaled = Signal(total_bits(spec))
        m.d.comb += rescaled.eq(Mux(self.first_sum, 0, self.total >> late))
        m.d.sync += self.total.eq(rescaled + self.powers)
        return m
