"""Addresses of LayerNorm's gains and offsets."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.vector_ports import NORM_READ


class NormFetch(wiring.Component):
    """Walk over a row's gains and offsets, one beat a cycle, again and again.

    A read leaves in the cycle after `step`.

    Members
    -------
    start : ``In(1)``, begin at `base`.
    step, last : ``In(1)``, a beat of the second sweep; the last one of its row.
    base : ``In(16)``, first word, and `use` : ``In(1)``, read at all; stable during a command.
    norm_read : ``Out(NORM_READ)``
    """

    LATENCY = 1

    def __init__(self) -> None:
        super().__init__(
            {
                "start": In(1),
                "step": In(1),
                "last": In(1),
                "base": In(16),
                "use": In(1),
                "norm_read": Out(NORM_READ),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word = Signal(16)
        with m.If(self.start | (self.step & self.last)):
            m.d.sync += word.eq(self.base)
        with m.Elif(self.step):
            m.d.sync += word.eq(word + 1)
        m.d.sync += [self.norm_read.en.eq(self.step & self.use), self.norm_read.word.eq(word)]
        return m
