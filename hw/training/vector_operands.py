"""From the memories' slices to the lanes' operands."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.float_convert import FloatExtend
from moesaic.models.accel import AccelSpec
from moesaic.models.float_format import FORMATS, FP32
from moesaic.models.float_timing import EXTEND
from moesaic.models.pipeline import log2
from moesaic.models.training.vector_fields import OperandKind
from moesaic.models.training.vector_timing import READ

FORM = data.StructLayout(
    {
        "a_x": 1,  # `a` is a slice of X
        "p_x": 1,
        "q_x": 1,
        "p_kind": 2,
        "q_kind": 2,
        "p_number": 32,
        "q_number": 32,
        "lane": 8,  # of a column's value
    }
)
"""What the operands of a slice are, due with its issue."""


class VectorOperands(wiring.Component):
    """Widen operands of X, choose, and spread numbers and columns over the lanes.

    One slice a cycle; slices are due READ cycles after their issue, `a`, `p` and `q` come OPERANDS
    cycles after it.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    form : ``In(FORM)``, with the issue.
    a_data, p_data, q_data, x_data : ``In``, what was read.
    a, p, q : ``Out(ArrayLayout(32, lanes))``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        floats = ArrayLayout(FP32.bits, spec.lanes)
        super().__init__(
            {
                "form": In(FORM),
                **{f"{side}_data": In(floats) for side in "apq"},
                "x_data": In(ArrayLayout(spec.data_bits, spec.lanes)),
                **{side: Out(floats) for side in "apq"},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes = self.spec.lanes
        form = Signal(FORM)
        m.d.comb += form.as_value().eq(delay(m, self.form.as_value(), READ + EXTEND, "form"))
        data_of: dict[str, Value] = {
            side: delay(m, getattr(self, f"{side}_data").as_value(), EXTEND, f"{side}_late")
            for side in "apq"
        }
        for lane in range(lanes):
            m.submodules[f"extend{lane}"] = extend = FloatExtend(FORMATS[self.spec.numbers])
            m.d.comb += extend.i.eq(self.x_data[lane])
            a = Signal(FP32.bits, name=f"a{lane}")
            m.d.comb += a.eq(
                Mux(form.a_x, extend.result, data_of["a"].word_select(lane, FP32.bits))
            )
            m.d.sync += self.a[lane].eq(a)
            for side in "pq":
                words = data_of[side]
                with m.Switch(form[f"{side}_kind"]):
                    with m.Case(OperandKind.NUMBER):
                        m.d.sync += getattr(self, side)[lane].eq(form[f"{side}_number"])
                    with m.Case(OperandKind.MEMORY):
                        own = words.word_select(lane, FP32.bits)
                        m.d.sync += getattr(self, side)[lane].eq(
                            Mux(form[f"{side}_x"], extend.result, own)
                        )
                    with m.Case(OperandKind.COLUMN):
                        one = words.word_select(form.lane[: log2(lanes)], FP32.bits)
                        m.d.sync += getattr(self, side)[lane].eq(one)
                    with m.Case(OperandKind.SELF):
                        m.d.sync += getattr(self, side)[lane].eq(a)
        return m
