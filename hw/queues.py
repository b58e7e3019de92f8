"""Queues of tokens: which of them go to an expert, and with which scores."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from moesaic.hw.queue_ports import PLACE_BITS, length_bits, queue_lengths, queue_read
from moesaic.hw.scratchpad import Scratchpad
from moesaic.hw.vector_ports import ROUTE_WRITE
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.routing import GATE_SCORE_BITS

LOOK_UPS = ("load", "stationary", "stream")


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
    read : ``In(queue_read(spec))``, the same place in the queues of all banks.
    load, stationary, stream : ``In(queue_lengths(spec))``, of all tokens or of one place.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "start": In(1),
                "route": In(ROUTE_WRITE),
                "read": In(queue_read(spec)),
                **{name: In(queue_lengths(spec)) for name in LOOK_UPS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        route = self.route
        depth_log2, experts_log2 = log2(spec.psum_depth), log2(spec.experts)
        expert = route.expert[:experts_log2]

        for bank in range(spec.tokens_per_beat):
            lengths = Array(
                Signal(depth_log2 + 1, name=f"length_{bank}_{i}") for i in range(spec.experts)
            )
            memory = Scratchpad(
                depth=spec.experts * spec.psum_depth,
                width=depth_log2 + GATE_SCORE_BITS,
                granule=depth_log2 + GATE_SCORE_BITS,
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
                memory.write_data.eq(Cat(route.row[:depth_log2], route.score)),
                memory.read_word.eq(Cat(self.read.place, self.read.expert[:experts_log2])),
                self.read.rows.word_select(bank, depth_log2).eq(memory.read_data[:depth_log2]),
                self.read.scores.word_select(bank, GATE_SCORE_BITS).eq(
                    memory.read_data[depth_log2:]
                ),
            ]
            for name in LOOK_UPS:
                port = getattr(self, name)
                answer = self._length(m, lengths[port.expert[:experts_log2]], port.place, bank)
                m.d.comb += port.lengths.word_select(bank, length_bits(spec)).eq(answer)
        return m

    def _length(self, m: Module, length: Value, place: Value, bank: int) -> Signal:
        """Return the length that a command sees: the queue's, or that up to its one place."""
        one, row = Signal(PLACE_BITS), Signal(PLACE_BITS)
        banks_log2 = log2(self.spec.tokens_per_beat)
        mine = one[:banks_log2] == bank if banks_log2 else 1
        seen = Signal(length_bits(self.spec))
        m.d.comb += [
            one.eq(place - 1),
            row.eq(one >> banks_log2),
            seen.eq(Mux(place == 0, length, Mux(mine & (row < length), row + 1, 0))),
        ]
        return seen
