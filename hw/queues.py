"""Queues of tokens: which of them go to an expert, and with which scores."""

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out, Signature

from moesaic.hw.scratchpad import Scratchpad
from moesaic.hw.vector_ports import ROUTE_WRITE
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.routing import GATE_SCORE_BITS

ROW_BITS = 16
LOOK_UPS = ("load", "stationary", "stream")


def length_port(spec: AccelSpec) -> Signature:
    """Return a look-up of the lengths of an expert's queues, as the unit that asks sees it."""
    length = log2(spec.psum_depth) + 1
    return Signature(
        {
            "expert": Out(log2(spec.experts)),
            "lengths": In(ArrayLayout(length, spec.tokens_per_beat)),
        }
    )


class Queues(wiring.Component):
    """Keep a queue of tokens for each expert and bank, in the order in which they arrive.

    That is sweep by sweep, as ``models.routing.Routing.bank_queue`` has it. One token a cycle; it
    is counted and can be read from the next cycle on. Reads take RAM_READ cycles, look-ups none.
    A queue holds ``psum_depth`` tokens, and nothing guards against more.

    Parameters
    ----------
    spec : AccelSpec
        With experts.

    Members
    -------
    start : ``In(1)``, all queues are empty from the next cycle on.
    route : ``In(ROUTE_WRITE)``, one more token for an expert.
    read_expert, read_place : ``In``, the same place in the queues of all banks.
    read_row, read_score : ``Out(ArrayLayout(16, tokens_per_beat))``, RAM_READ cycles later.
    load, stationary, stream : ``In(length_port(spec))``, `lengths` of the queues of `expert`,
        one for each bank, in the same cycle.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        banks = spec.tokens_per_beat
        super().__init__(
            {
                "start": In(1),
                "route": In(ROUTE_WRITE),
                "read_expert": In(log2(spec.experts)),
                "read_place": In(log2(spec.psum_depth)),
                "read_row": Out(ArrayLayout(ROW_BITS, banks)),
                "read_score": Out(ArrayLayout(GATE_SCORE_BITS, banks)),
                **{name: In(length_port(spec)) for name in LOOK_UPS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        route = self.route
        depth_log2 = log2(spec.psum_depth)
        expert = route.expert[: log2(spec.experts)]

        for bank in range(spec.tokens_per_beat):
            lengths = Array(
                Signal(depth_log2 + 1, name=f"length_{bank}_{i}") for i in range(spec.experts)
            )
            memory = Scratchpad(
                depth=spec.experts * spec.psum_depth,
                width=ROW_BITS + GATE_SCORE_BITS,
                granule=ROW_BITS + GATE_SCORE_BITS,
            )
            m.submodules[f"bank_{bank}"] = memory
            arrives = route.valid & (route.bank == bank)
            with m.If(self.start):
                m.d.sync += [length.eq(0) for length in lengths]
            with m.Elif(arrives):
                m.d.sync += lengths[expert].eq(lengths[expert] + 1)
            m.d.comb += [
                memory.write_mask.eq(arrives),
                memory.write_word.eq(Cat(lengths[expert][:depth_log2], expert)),
                memory.write_data.eq(Cat(route.row, route.score)),
                memory.read_word.eq(Cat(self.read_place, self.read_expert)),
                Cat(self.read_row[bank], self.read_score[bank]).eq(memory.read_data),
            ]
            for name in LOOK_UPS:
                port = getattr(self, name)
                m.d.comb += port.lengths[bank].eq(lengths[port.expert])
        return m
