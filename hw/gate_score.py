"""From a winner's logit to its gate score: its power over the row's sum of powers."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.exp2 import Exp2
from moesaic.hw.inverse import WIDTH_LOG2
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import VectorOp
from moesaic.models.exp2 import power_bits
from moesaic.models.inverse import RESULT_BITS
from moesaic.models.routing import GATE_SCORE_BITS
from moesaic.models.vector_timing import inverse_at, power_at

COARSE_LOG2 = 3
HALVES_BITS = GATE_SCORE_BITS + 2  # of a score in halves: it may reach one, and a unit more


class GateScore(wiring.Component):
    """Return a score as ``models.routing.route`` has it, from the inverse of the row's sum.

    One row a cycle, no back-pressure. Cycles are those of :mod:`moesaic.models.vector_timing`.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    value : ``In(signed(wide_bits))``, reference_at.
    reference : ``In(signed(wide_bits + 1))``, reference_at, the row's maximum rounded up.
    mantissa, exponent : ``In``, inverse_at, of the row's sum of powers.
    score : ``Out(16)``, gate_score_at.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "value": In(signed(spec.wide_bits)),
                "reference": In(signed(spec.wide_bits + 1)),
                "mantissa": In(RESULT_BITS),
                "exponent": In(WIDTH_LOG2),
                "score": Out(GATE_SCORE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.exp2 = exp2 = Exp2(wide_bits=spec.wide_bits, data_bits=spec.data_bits)
        m.d.comb += [
            exp2.x.eq(self.value),
            exp2.reference.eq(self.reference),
            exp2.real.eq(1),
        ]
        wait = inverse_at(spec, VectorOp.ROUTE) - power_at(spec)
        power = delay(m, exp2.power, wait, "power")

        # Cycles 1 and 2: product.
        product = Signal(power_bits(spec.data_bits) + RESULT_BITS)
        m.d.sync += product.eq(power * self.mantissa)
        late_product = delay(m, product, 1, "product")
        exponent = delay(m, self.exponent, 2, "exponent")

        # Cycle 3: shift by multiples of 8; 4: by 0..7. What is left counts halves of a unit.
        halves = late_product[RESULT_BITS - GATE_SCORE_BITS - 1 :]
        coarse = Signal(HALVES_BITS + (1 << COARSE_LOG2) - 1)
        fine = Signal(HALVES_BITS)
        fine_shift = delay(m, exponent[:COARSE_LOG2], 1, "fine_shift")
        m.d.sync += [
            coarse.eq(halves >> Cat(Const(0, COARSE_LOG2), exponent[COARSE_LOG2:])),
            fine.eq(coarse >> fine_shift),
        ]

        # Cycle 5: round half up; one becomes the largest code.
        rounded = Signal(HALVES_BITS)
        m.d.comb += rounded.eq((fine + 1) >> 1)
        largest = (1 << GATE_SCORE_BITS) - 1
        m.d.sync += self.score.eq(Mux(rounded > largest, largest, rounded))
        return m
