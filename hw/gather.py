"""Where a beat's tokens lie: the queues' rows as addresses, bank by bank."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.queue_ports import queue_read
from moesaic.hw.stream import BEAT
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Epilogue
from moesaic.models.pipeline import RAM_READ, gather_latency, log2
from moesaic.models.routing import GATE_SCORE_BITS


class Gather(wiring.Component):
    """Give each bank of a beat its own words: those of the token at this place of its queue.

    One beat a cycle, ``gather_latency(spec)`` cycles, no back-pressure. Beats that neither gather
    nor scatter pass as they are.

    Parameters
    ----------
    spec : AccelSpec
        With experts.

    Members
    -------
    i, o : ``In(BEAT)``, ``Out(BEAT)``.
    queue : ``Out(queue_read(spec))``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__({"i": In(BEAT), "o": Out(BEAT), "queue": Out(queue_read(spec))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        early, late = Signal(BEAT), Signal(BEAT)
        latency = gather_latency(spec)
        m.d.comb += [
            self.queue.expert.eq(self.i.expert - 1),
            self.queue.place.eq(self.i.row),
            early.as_value().eq(delay(m, self.i.as_value(), RAM_READ, "early")),
            late.as_value().eq(delay(m, early.as_value(), latency - RAM_READ - 1, "late")),
        ]
        out = Signal(BEAT)
        m.d.sync += out.eq(late)
        bits = log2(spec.psum_depth)
        scatter = early.epilogue == Epilogue.WEIGH
        for bank in range(spec.tokens_per_beat):
            row = self.queue.rows.word_select(bank, bits)
            read = Signal(24, name=f"read{bank}")
            write = Signal(24, name=f"write{bank}")
            score = Signal(GATE_SCORE_BITS, name=f"score{bank}")
            m.d.sync += [
                read.eq(Mux(early.gather, row * early.pitch, 0)),
                write.eq(Mux(scatter, row * early.dest_pitch, 0)),
                score.eq(self.queue.scores.word_select(bank, GATE_SCORE_BITS)),
                (out.word, out.word1)[bank].eq(late.word + read),
                (out.dest_word, out.dest_word1)[bank].eq(late.dest_word + write),
                (out.score0, out.score1)[bank].eq(score),
            ]
        m.d.comb += self.o.eq(out)
        return m
