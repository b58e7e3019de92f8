"""One lane of the vector unit: normalise and scale, or raise two to a power."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, Signature

from moesaic.hw.delay import delay
from moesaic.hw.exp2 import Exp2
from moesaic.hw.round_shift import RoundShift, differs_above
from moesaic.models.accel import AccelSpec
from moesaic.models.exp2 import power_bits
from moesaic.models.layernorm import (
    GAIN_BITS,
    OFFSET_BITS,
    SCALE_BITS,
    Z_BITS,
    cut_bits,
    mean_fraction,
)
from moesaic.models.requant import MULTIPLIER_BITS, SHIFT_BITS, limits
from moesaic.models.vector_timing import (
    OPERAND_AT,
    RESULT_AT,
    SQUARE_AT,
    WRITE_AT,
    power_at,
    reference_at,
)

ENTRY_BITS = 64  # of the norm scratchpad
FACTOR_BITS = MULTIPLIER_BITS + 1  # a signed gain or an unsigned multiplier
MEAN_BITS = 26
DIFFERENCE_BITS = 27
COARSE_LOG2 = 3


def upper_bits(spec: AccelSpec) -> int:
    """Return the bits of a value that its square is made of."""
    return spec.wide_bits - cut_bits(spec.wide_bits)


def lower_bits(spec: AccelSpec) -> int:
    """Return the bits that squares leave out, or one bit of zero if there are none."""
    return max(1, cut_bits(spec.wide_bits))


def lane_signature(spec: AccelSpec) -> Signature:
    """Return the members of :class:`VectorLane`, which says what they are."""
    upper = upper_bits(spec)
    return Signature(
        {
            "data": In(signed(spec.wide_bits)),
            "real": In(1),
            "second": In(1),
            "mean": In(signed(MEAN_BITS)),
            "scale": In(SCALE_BITS),
            "z_shift": In(SHIFT_BITS),
            "entry": In(ENTRY_BITS),
            "use_entry": In(1),
            "multiplier": In(MULTIPLIER_BITS),
            "shift": In(SHIFT_BITS),
            "softmax": In(1),
            "reference": In(signed(spec.wide_bits + 1)),
            "candidate": Out(signed(spec.wide_bits)),
            "square": Out(2 * upper - 1),
            "upper": Out(signed(upper)),
            "lower": Out(lower_bits(spec)),
            "power": Out(power_bits(spec.data_bits)),
            "narrow": Out(signed(spec.data_bits)),
            "wide": Out(signed(spec.wide_bits)),
        }
    )


class VectorLane(wiring.Component):
    """Turn one wide value a cycle into what sums need (first sweep) and into a result (second).

    One value a cycle, no back-pressure. Cycles are those of :mod:`moesaic.models.vector_timing`:
    a member is due, or there, in the cycle given with it.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    data : ``In(signed(wide_bits))``, OPERAND_AT - 1.
    real : ``In(1)``, with `data`; without it the value counts as absent and the result is zero.
    second : ``In(1)``, OPERAND_AT, second sweep: normalise instead of square.
    mean, scale : ``In``, OPERAND_AT. `z_shift` : ``In(6)``, SQUARE_AT.
    entry : ``In(64)``, Z_AT - 1: int16 gain, int32 offset.
    use_entry : ``In(1)``, `multiplier` : ``In(16)``, `shift` : ``In(6)``, `softmax` : ``In(1)``,
        stable during a command; without `use_entry` the gain is `multiplier` and the offset zero.
    reference : ``In(signed(wide_bits + 1))``, reference_at.
    candidate : ``Out(signed(wide_bits))``, OPERAND_AT, the value for the maximum.
    square, upper, lower : ``Out``, SQUARE_AT; the square is that of `upper`.
    power : ``Out(power_bits(data_bits))``, power_at.
    narrow, wide : ``Out``, WRITE_AT.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(lane_signature(spec))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        low, high = limits(spec.data_bits)

        x = Signal(signed(spec.wide_bits))
        real = Signal()
        m.d.sync += [x.eq(Mux(self.real, self.data, 0)), real.eq(self.real)]
        m.d.comb += self.candidate.eq(Mux(real, x, limits(spec.wide_bits)[0]))

        normalised = self._normalise(m, x)
        probability = self._power(m, x, real)
        last_real = delay(m, real, RESULT_AT - OPERAND_AT, "real")
        clamped = Mux(normalised > high, high, Mux(normalised < low, low, normalised))
        m.d.sync += [
            self.wide.eq(Mux(last_real, normalised, 0)),
            self.narrow.eq(Mux(self.softmax, probability, Mux(last_real, clamped, 0))),
        ]
        return m

    def _normalise(self, m: Module, x: Signal) -> Signal:
        """From OPERAND_AT to RESULT_AT; both sweeps share the first product."""
        spec = self.spec
        cut = cut_bits(spec.wide_bits)
        upper = x[cut:].as_signed()

        left = Signal(signed(DIFFERENCE_BITS))
        right = Signal(signed(SCALE_BITS + 1))
        product = Signal(signed(DIFFERENCE_BITS + SCALE_BITS + 1))
        difference = (x << mean_fraction(spec.wide_bits)) - self.mean
        m.d.sync += [
            left.eq(Mux(self.second, difference, upper)),
            right.eq(Mux(self.second, self.scale, upper)),
            product.eq(left * right),
        ]
        p = delay(m, product, 1, "product")
        m.d.comb += [
            self.square.eq(p),
            self.upper.eq(delay(m, upper, SQUARE_AT - OPERAND_AT, "upper")),
        ]
        if cut:
            m.d.comb += self.lower.eq(delay(m, x[:cut], SQUARE_AT - OPERAND_AT, "lower"))

        near = Z_BITS + (1 << COARSE_LOG2) - 1
        coarse = Signal(near)
        fine = Signal(signed(near + 1))
        sign, far, far_late = Signal(), Signal(), Signal()
        fine_shift = delay(m, self.z_shift[:COARSE_LOG2], 1, "fine_shift")
        steps = self.z_shift[COARSE_LOG2:]
        m.d.sync += [
            coarse.eq(p.as_signed() >> Cat(Const(0, COARSE_LOG2), steps)),
            sign.eq(p[-1]),
            far.eq(differs_above(p, near, steps)),
            fine.eq(Cat(coarse, sign).as_signed() >> fine_shift),
            far_late.eq(far),
        ]
        z = Signal(signed(Z_BITS))
        z_low, z_high = limits(Z_BITS)
        too_large = (far_late & ~fine[-1]) | (fine > z_high)
        too_small = (far_late & fine[-1]) | (fine < z_low)
        m.d.sync += z.eq(Mux(too_large, z_high, Mux(too_small, z_low, fine)))

        factor = Signal(signed(FACTOR_BITS))
        gain = self.entry[:GAIN_BITS].as_signed()
        offset = self.entry[GAIN_BITS:][:OFFSET_BITS].as_signed()
        m.d.sync += factor.eq(Mux(self.use_entry, gain, self.multiplier))
        late_offset = delay(m, Mux(self.use_entry, offset, 0), 2, "offset")

        scaled = Signal(signed(Z_BITS + FACTOR_BITS))
        affine = Signal(signed(Z_BITS + FACTOR_BITS + 1))
        m.submodules.round_shift = round_shift = RoundShift(
            in_bits=len(affine), out_bits=spec.wide_bits
        )
        m.d.sync += [scaled.eq(z * factor), affine.eq(scaled + late_offset)]
        m.d.comb += [round_shift.value.eq(affine), round_shift.shift.eq(self.shift)]
        return round_shift.result

    def _power(self, m: Module, x: Signal, real: Signal) -> Signal:
        """From OPERAND_AT to RESULT_AT; the sum takes the power on its way."""
        spec = self.spec
        wait = reference_at(spec) - OPERAND_AT
        m.submodules.exp2 = exp2 = Exp2(wide_bits=spec.wide_bits, data_bits=spec.data_bits)
        m.d.comb += [
            exp2.x.eq(delay(m, x, wait, "x")),
            exp2.real.eq(delay(m, real, wait, "present")),
            exp2.reference.eq(self.reference),
            self.power.eq(exp2.power),
        ]
        return delay(m, exp2.narrow, WRITE_AT - 1 - power_at(spec) - 1, "probability")
