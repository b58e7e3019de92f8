"""Where the vector unit's results go: places in the destination, and the end of a command."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.row_walk import RowWalk
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, Unit, VectorOp
from moesaic.models.pipeline import log2


class VectorWrite(wiring.Component):
    """Show the place of each result, one a cycle, a cycle after `step`.

    Softmax of three passes writes all its results twice.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    config : ``In``, the command being executed.
    start : ``In(1)``, begin at its first place. `step` : ``In(1)``, a result follows in a cycle.
    valid, buffer, bank, word, sub : ``Out``, the place of the result.
    done : ``Out(1)``, with the last result of the command.
    row_step : ``In(1)``, a row statistic leaves in this cycle.
    row_bank, row : ``Out``, its place: that of the destination's token.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "config": In(command_layout(Unit.VECTOR)),
                "start": In(1),
                "step": In(1),
                "valid": Out(1),
                "buffer": Out(4),
                "bank": Out(1),
                "word": Out(16),
                "sub": Out(8),
                "done": Out(1),
                "row_step": In(1),
                "row_bank": Out(1),
                "row": Out(16),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        config = self.config
        words = {
            Buffer.VEC: spec.act_word,
            Buffer.KV: spec.kv_word,
            Buffer.RESIDUAL: spec.wide_word,
        }

        m.submodules.walk = walk = RowWalk(spec)
        m.d.comb += [
            walk.start.eq(self.start),
            walk.step.eq(self.step),
            walk.token.eq(config.dest_token),
            walk.tokens.eq(config.tokens),
            walk.beats.eq(config.beats),
            walk.base.eq(config.dest_base),
            walk.pitch.eq(config.dest_pitch),
            walk.position.eq(config.dest_position),
        ]
        offset = Signal(16)
        sub = Signal(8)
        again = Signal()
        twice = (config.op == VectorOp.SOFTMAX) & (config.passes == 3)
        with m.Switch(config.dest):
            for buffer, values in words.items():
                slices_log2 = log2(values // spec.lanes)
                with m.Case(buffer):
                    m.d.comb += [
                        offset.eq(walk.slice >> slices_log2),
                        sub.eq(walk.slice[:slices_log2]),
                    ]
        m.d.sync += [
            self.valid.eq(self.step),
            self.buffer.eq(config.dest),
            self.bank.eq(walk.bank),
            self.word.eq(walk.row_word + offset),
            self.sub.eq(sub),
            self.done.eq(self.step & walk.final & (again | ~twice)),
        ]
        with m.If(self.start):
            m.d.sync += again.eq(0)
        with m.Elif(self.step & walk.final):
            m.d.sync += again.eq(1)

        banks_log2 = log2(spec.tokens_per_beat)
        with m.If(self.start):
            m.d.sync += [
                self.row_bank.eq(config.dest_token[:banks_log2]),
                self.row.eq(config.rowstat_base + config.dest_token[banks_log2:]),
            ]
        with m.Elif(self.row_step):
            m.d.sync += [
                self.row_bank.eq(~self.row_bank if banks_log2 else 0),
                self.row.eq(self.row + (self.row_bank if banks_log2 else 1)),
            ]
        return m
