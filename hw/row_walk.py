"""Walk over the beats of consecutive tokens' rows in a banked scratchpad."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2


class RowWalk(wiring.Component):
    """Count through beats, then tokens; begin again by itself after the last one.

    The other inputs must be stable from one cycle before `start` on. Outputs show the present
    beat; they show the first one from the cycle after `start`, and the next from the cycle after
    each `step`.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    start, step : ``In(1)``
    token, tokens, beats : ``In(16)``, first token, number of tokens, beats in each.
    base, pitch : ``In(16)``, word of token 0, words from one row of tokens to the next.
    position : ``In(16)``, value in a token's words where the row begins, a multiple of `lanes`.
    row_word, slice : ``Out(16)``, the token's first word, and the slice of `lanes` values from it.
    bank : ``Out(1)``
    row : ``Out(16)``, tokens before this one.
    first, last, final : ``Out(1)``, first or last beat of its row; last beat of the last row.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "start": In(1),
                "step": In(1),
                "token": In(16),
                "tokens": In(16),
                "beats": In(16),
                "base": In(16),
                "pitch": In(16),
                "position": In(16),
                "row_word": Out(16),
                "slice": Out(16),
                "bank": Out(1),
                "row": Out(16),
                "first": Out(1),
                "last": Out(1),
                "final": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        banks_log2 = log2(self.spec.tokens_per_beat)
        lanes_log2 = log2(self.spec.lanes)

        offset = Signal(16)
        beat = Signal(16)
        m.d.sync += offset.eq(self.token[banks_log2:] * self.pitch)
        m.d.comb += [
            self.first.eq(beat == 0),
            self.last.eq(beat + 1 == self.beats),
            self.final.eq(self.last & (self.row + 1 == self.tokens)),
        ]
        first_slice = self.position[lanes_log2:]

        with m.If(self.start | (self.step & self.final)):
            m.d.sync += [
                beat.eq(0),
                self.row.eq(0),
                self.slice.eq(first_slice),
                self.row_word.eq(self.base + offset),
                self.bank.eq(self.token[:banks_log2]),
            ]
        with m.Elif(self.step & self.last):
            next_row = self.bank if banks_log2 else 1
            m.d.sync += [
                beat.eq(0),
                self.row.eq(self.row + 1),
                self.slice.eq(first_slice),
                self.row_word.eq(self.row_word + Mux(next_row, self.pitch, 0)),
                self.bank.eq(~self.bank if banks_log2 else 0),
            ]
        with m.Elif(self.step):
            m.d.sync += [beat.eq(beat + 1), self.slice.eq(self.slice + 1)]
        return m
