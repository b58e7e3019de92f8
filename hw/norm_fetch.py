"""Gains and offsets for the lanes: read for LayerNorm, constant for scaling."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.vector_lane import GAIN_BITS
from moesaic.hw.vector_ports import NORM_READ
from moesaic.models.accel import AccelSpec
from moesaic.models.layernorm import OFFSET_BITS
from moesaic.models.pipeline import RAM_READ
from moesaic.models.requant import MULTIPLIER_BITS

ENTRY_BITS = 64
ENTRY_GAIN_BITS = 16


class NormFetch(wiring.Component):
    """Walk over a row's gains and offsets, one beat a cycle, again and again.

    With `step` in cycle 0 the read leaves in cycle 1; gains are there in cycle ``LATENCY`` and
    offsets a cycle later.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    start : ``In(1)``, begin at `base`.
    step, last : ``In(1)``, a beat of the second sweep; the last one of its row.
    base : ``In(16)``, `use` : ``In(1)``, `multiplier` : ``In(16)``, stable during a command: first
        word; whether it is a LayerNorm; what is the gain of all lanes otherwise.
    norm_read, norm_data : the scratchpad.
    gains, offsets : ``Out``, of all lanes side by side.
    """

    LATENCY = 1 + RAM_READ + 1

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "start": In(1),
                "step": In(1),
                "last": In(1),
                "base": In(16),
                "use": In(1),
                "multiplier": In(MULTIPLIER_BITS),
                "norm_read": Out(NORM_READ),
                "norm_data": In(ENTRY_BITS * spec.lanes),
                "gains": Out(GAIN_BITS * spec.lanes),
                "offsets": Out(OFFSET_BITS * spec.lanes),
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

        offsets = []
        for lane in range(self.spec.lanes):
            entry = self.norm_data.word_select(lane, ENTRY_BITS)
            gain = entry[:ENTRY_GAIN_BITS]
            signed_gain = Cat(gain, gain[-1])
            offset = entry[ENTRY_GAIN_BITS:][:OFFSET_BITS]
            m.d.sync += self.gains.word_select(lane, GAIN_BITS).eq(
                Mux(self.use, signed_gain, self.multiplier)
            )
            offsets.append(Mux(self.use, offset, 0))
        m.d.comb += self.offsets.eq(delay(m, Cat(*offsets), 2, "offsets"))
        return m
