"""From a row's sums to its factors: LayerNorm's scale, softmax's row multiplier."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.inverse import WIDTH_LOG2, Inverse
from moesaic.hw.norm_statistics import VARIANCE_BITS
from moesaic.models.accel import AccelSpec
from moesaic.models.exp2 import POWER_FRACTION_BITS, ROW_MANTISSA_BITS, row_mantissas
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.inverse import RESULT_BITS
from moesaic.models.layernorm import (
    MAX_VALID_LOG2,
    SCALE_BITS,
    Z_FRACTION_BITS,
    cut_bits,
    mean_fraction,
)
from moesaic.models.requant import MULTIPLIER_BITS, SHIFT_BITS
from moesaic.models.softmax import LARGEST_SHIFT


class RowScale(wiring.Component):
    """Divide by a row's sum, or by the root of its variance, and renormalise.

    One row a cycle, no back-pressure; `SCALE_LATENCY` cycles to LayerNorm's factors,
    `ROW_LATENCY` to softmax's.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    operand : ``In(60)``, sum of powers or variance, at least 1.
    fraction : ``In(8)``, with `operand`: fraction of softmax's maximum.
    root : ``In(1)``, LayerNorm; stable during a command, as are the next:
    valid, exponent : ``In``, values of a row, and the least power of two that holds them.
    multiplier, shift : ``In``, fields of the command.
    scale, z_shift : ``Out``, as in :class:`moesaic.models.layernorm.RowMoments`.
    row_multiplier, row_shift : ``Out``, as from :func:`moesaic.models.softmax.row_scale`.
    mantissa, inverse_exponent : ``Out``, only with experts: the operand's inverse, after
        ``1 + Inverse.LATENCY`` cycles.
    """

    SCALE_LATENCY = 1 + Inverse.LATENCY + 4
    ROW_LATENCY = 1 + Inverse.LATENCY + 7

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        inverse = {"mantissa": Out(RESULT_BITS), "inverse_exponent": Out(WIDTH_LOG2)}
        super().__init__(
            {
                "operand": In(VARIANCE_BITS),
                "fraction": In(SCORE_FRACTION_BITS),
                "root": In(1),
                "valid": In(MAX_VALID_LOG2 + 1),
                "exponent": In(4),
                "multiplier": In(MULTIPLIER_BITS),
                "shift": In(SHIFT_BITS),
                "scale": Out(SCALE_BITS),
                "z_shift": Out(SHIFT_BITS),
                "row_multiplier": Out(MULTIPLIER_BITS),
                "row_shift": Out(SHIFT_BITS),
                **(inverse if spec.experts else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.inverse = inverse = Inverse(in_bits=VARIANCE_BITS)
        m.d.sync += inverse.x.eq(self.operand)
        m.d.comb += inverse.root.eq(self.root)
        if self.spec.experts:
            m.d.comb += [
                self.mantissa.eq(inverse.mantissa),
                self.inverse_exponent.eq(inverse.exponent),
            ]

        # The other factor, a cycle before the inverse: n without its exponent, or the power of
        # two by which the sum's reference is beyond the maximum.
        m.submodules.rom = rom = Memory(
            shape=ROW_MANTISSA_BITS,
            depth=1 << SCORE_FRACTION_BITS,
            init=row_mantissas().tolist(),
        )
        port = rom.read_port()
        m.d.comb += port.addr.eq(delay(m, self.fraction, Inverse.LATENCY - 1, "fraction"))
        aligned_n = Signal(MAX_VALID_LOG2 + 1)
        factor = Signal(ROW_MANTISSA_BITS)
        m.d.sync += [
            aligned_n.eq(self.valid << (Const(MAX_VALID_LOG2, 4) - self.exponent)[:4]),
            factor.eq(Mux(self.root, aligned_n, port.data)),
        ]

        product = Signal(RESULT_BITS + ROW_MANTISSA_BITS)
        m.d.sync += product.eq(inverse.mantissa * factor)
        late_product = delay(m, product, 1, "product")
        exponent = delay(m, inverse.exponent, 2, "inverse_exponent")
        self._layernorm(m, late_product, exponent)
        below_one = delay(m, self.fraction.any(), 1 + Inverse.LATENCY + 2, "below_one")
        self._softmax(m, late_product, exponent + below_one)
        return m

    def _layernorm(self, m: Module, product: Signal, exponent: Signal) -> None:
        """Cycle 1: round to 17 bits; 2: saturate."""
        wide_bits = self.spec.wide_bits
        bits = RESULT_BITS + MAX_VALID_LOG2  # of the largest product
        bias = bits + mean_fraction(wide_bits) + cut_bits(wide_bits) - Z_FRACTION_BITS
        spare = bits - SCALE_BITS - 1  # bits below the result, one more for large products

        large = product[bits - 1]
        twice = Mux(large, product[spare:], product[spare - 1 :])[: SCALE_BITS + 1]
        rounded = Signal(SCALE_BITS + 1)
        shift = Signal(signed(SHIFT_BITS + 2))
        m.d.sync += [
            rounded.eq((twice + 1)[1:]),
            shift.eq(exponent + (bias - spare) - large - self.exponent),
            self.scale.eq(Mux(rounded[-1], (1 << SCALE_BITS) - 1, rounded)),
            self.z_shift.eq(Mux(shift < 0, 0, shift)),
        ]

    def _softmax(self, m: Module, product: Signal, exponent: Signal) -> None:
        """Cycle 1: round to 18 bits; 2 and 3: product; 4: round to 16; 5: saturate."""
        top = RESULT_BITS + MULTIPLIER_BITS  # of the largest product
        bias = ROW_MANTISSA_BITS - 1 - POWER_FRACTION_BITS - MULTIPLIER_BITS

        both = Signal(RESULT_BITS)
        scaled = Signal(top)
        m.d.sync += [
            both.eq((product + (1 << (RESULT_BITS - 1)))[RESULT_BITS:]),
            scaled.eq(both * self.multiplier),
        ]
        value = delay(m, scaled, 1, "scaled")
        large, larger = value[-2:].any(), value[-1]
        least = MULTIPLIER_BITS - 1
        twice = Mux(larger, value[least + 2 :], Mux(large, value[least + 1 :], value[least:]))
        rounded = Signal(MULTIPLIER_BITS + 1)
        shift = Signal(signed(SHIFT_BITS + 3))
        late_exponent = delay(m, exponent, 3, "row_exponent")
        m.d.sync += [
            rounded.eq((twice[: MULTIPLIER_BITS + 1] + 1)[1:]),
            shift.eq(self.shift + late_exponent + bias - large - larger),
        ]
        fits = shift <= LARGEST_SHIFT
        limited = Mux(rounded[-1], (1 << MULTIPLIER_BITS) - 1, rounded)
        m.d.sync += [
            self.row_multiplier.eq(Mux(fits, limited, 0)),
            self.row_shift.eq(Mux(fits, shift, LARGEST_SHIFT + 1)),
        ]
