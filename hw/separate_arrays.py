"""One array for each kind of product: what the unified compute unit is measured against."""

from functools import reduce
from operator import or_

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from moesaic.hw.array import Array
from moesaic.hw.cell import Cells, place
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import ARRAYS

CONTROL = ("beat", "line")
RESULTS = ("write_narrow", "write_wide")


class SeparateArrays(wiring.Component):
    """Arrays side by side with the ports of one, after the separate modules that Edge-MoE merges.

    A beat or line goes to the array that its field `array` names; the others get none. Only one
    has work in any cycle, and all have one latency, so results are joined without waiting.
    (Edge-MoE, arXiv 2305.18691, section on the unified linear module.)

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    Those of :class:`moesaic.hw.array.Array`.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.array = Array(spec)
        self.cells: Cells = [("moesaic_one_array", self.array), *self.array.cells]
        super().__init__(self.array.signature)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        arrays = [place(m, name, "moesaic_one_array", self.array.signature) for name in ARRAYS]
        for number, array in enumerate(arrays):
            for name in CONTROL:
                step = getattr(self, name)
                m.d.comb += getattr(array, name).eq(Mux(step.array == number, step.as_value(), 0))
        for name, member in self.array.signature.members.items():
            if name in CONTROL:
                continue
            port = getattr(self, name)
            if member.flow == Out:
                m.d.comb += port.eq(reduce(or_, (_result(array, name) for array in arrays)))
            else:
                m.d.comb += [getattr(array, name).eq(port) for array in arrays]
        return m


def _result(array: wiring.PureInterface, name: str) -> Value:
    """Return an output of one array, zero where it has no work: addresses follow the beat."""
    value: Signal = getattr(array, name)
    return Mux(array.write_valid.any(), value, 0) if name in RESULTS else value
