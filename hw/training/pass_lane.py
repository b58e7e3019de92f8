"""One lane of the vector unit: what a pass makes of a value."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_add import FloatAdd
from moesaic.hw.float_convert import FloatConvert
from moesaic.hw.float_exp import FloatExp
from moesaic.hw.float_inverse import FloatInverse
from moesaic.hw.float_log import FloatLog
from moesaic.hw.float_maximum import FloatMaximum, is_nan
from moesaic.hw.float_multiply import FloatMultiply
from moesaic.models.float_format import FP32, FloatFormat
from moesaic.models.float_timing import ADD, MAXIMUM
from moesaic.models.training.passes import Combine
from moesaic.models.training.step import Function
from moesaic.models.training.timing import COMBINE, LONGEST_FUNCTION, lane_latency

ONE = FP32.bias << FP32.fraction_bits


class PassLane(wiring.Component):
    """Return ``function(models.training.passes.combine(how, a, p, q))``, also rounded to `fmt`.

    One value a cycle, ``lane_latency(fmt)`` cycles whatever the function, no back-pressure. All
    take the same way, compare, add, multiply, add, function; what a combination does not need adds
    -0 or multiplies by one.

    Parameters
    ----------
    fmt : FloatFormat
        Of the operands.

    Members
    -------
    a, p, q : ``In(32)``
    combine : ``In(3)``, a ``models.training.passes.Combine``.
    seen : ``In(1)``, what WATCHED asks for.
    operation : ``In(3)``, a ``models.training.step.Function``. All inputs are due together.
    z : ``Out(32)``
    rounded : ``Out(fmt.bits)``, in the same cycle as `z`.
    """

    def __init__(self, fmt: FloatFormat) -> None:
        self.fmt = fmt
        self.LATENCY = lane_latency(fmt)
        word = FP32.bits
        super().__init__(
            {
                **{name: In(word) for name in "apq"},
                "combine": In(3),
                "seen": In(1),
                "operation": In(3),
                "z": Out(word),
                "rounded": Out(fmt.bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chosen = self._function(m, self._combine(m), delay(m, self.operation, COMBINE, "function"))
        m.submodules.convert = convert = FloatConvert(self.fmt)
        m.d.comb += [
            convert.x.eq(chosen),
            self.rounded.eq(convert.result),
            self.z.eq(delay(m, chosen, convert.LATENCY, "z")),
        ]
        return m

    def _combine(self, m: Module) -> Value:
        """Return ``combine(a, p, q)``."""
        m.submodules.compare = compare = FloatMaximum()
        equal = Signal()
        same = (self.a == self.q) | ~(self.a[:-1].any() | self.q[:-1].any())
        m.d.sync += equal.eq(same & ~is_nan(self.a) & ~is_nan(self.q))
        inputs = Cat(self.a, self.p, self.q, self.combine, self.seen)
        late = delay(m, inputs, MAXIMUM, "compared")
        a, p, q = (late.word_select(i, FP32.bits) for i in range(3))
        how, seen = late[-4:-1], late[-1]

        minus_zero = Const(FP32.sign, FP32.bits)
        base, before, factor, behind = (
            Signal(FP32.bits, name=name) for name in ("base", "before", "factor", "behind")
        )
        m.d.comb += [
            compare.a.eq(self.q),
            compare.b.eq(self.a),
            base.eq(a),
            before.eq(minus_zero),
            factor.eq(p),
            behind.eq(minus_zero),
        ]
        with m.Switch(how):
            with m.Case(Combine.MULTIPLY_ADD):
                m.d.comb += behind.eq(q)
            with m.Case(Combine.ADD_MULTIPLY):
                m.d.comb += before.eq(q)
            with m.Case(Combine.MAXIMUM):
                m.d.comb += base.eq(compare.largest)
            with m.Case(Combine.EQUAL):
                m.d.comb += [base.eq(ONE), factor.eq(Mux(equal, p, 0))]
            with m.Case(Combine.GREATER):
                m.d.comb += [base.eq(ONE), factor.eq(Mux(compare.less, p, 0))]
            with m.Case(Combine.WATCHED):
                m.d.comb += [base.eq(ONE), factor.eq(Mux(seen, p, 0))]

        m.submodules.add_before = add_before = FloatAdd()
        m.submodules.multiply = multiply = FloatMultiply(FP32)
        m.submodules.add_behind = add_behind = FloatAdd()
        m.d.comb += [
            add_before.a.eq(base),
            add_before.b.eq(before),
            multiply.a.eq(add_before.sum),
            multiply.b.eq(delay(m, factor, ADD, "factor")),
            add_behind.a.eq(multiply.product),
            add_behind.b.eq(delay(m, behind, ADD + multiply.LATENCY, "behind")),
        ]
        return add_behind.sum

    def _function(self, m: Module, x: Value, function: Value) -> Value:
        """Return the function's result; short ones get `x` later, so that all end together."""
        late = [x]
        for i in range(LONGEST_FUNCTION):
            late.append(delay(m, late[-1], 1, f"x{i}"))
        units: dict[Function, FloatExp | FloatInverse | FloatLog] = {
            Function.EXP: FloatExp(),
            Function.RECIPROCAL: FloatInverse("reciprocal"),
            Function.RSQRT: FloatInverse("reciprocal_root"),
            Function.LOG: FloatLog(),
        }
        for name, unit in units.items():
            m.submodules[name.name.lower()] = unit
            m.d.comb += unit.x.eq(late[LONGEST_FUNCTION - unit.LATENCY])

        chosen = Signal(FP32.bits)
        with m.Switch(delay(m, function, LONGEST_FUNCTION, "choice")):
            for name, unit in units.items():
                with m.Case(name.value):
                    m.d.sync += chosen.eq(unit.result)
            with m.Default():
                m.d.sync += chosen.eq(late[-1])
        return chosen
