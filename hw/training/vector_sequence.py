"""The vector sequencer of the training machine: one slice a cycle through rows and beats."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.training.slice_walk import SliceWalk
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.training.commands import TRAINING_FIELDS
from moesaic.models.training.vector_fields import ADDRESS_BITS
from moesaic.models.training.vector_timing import SPACING, hold

STEP = data.StructLayout(
    {
        "valid": 1,
        "real": 1,  # the row is one of the tensor's; blocks are filled up with rows that are not
        "beat": 16,
        "row": 16,
        "first_row": 1,
        "last_row": 1,
        "first_beat": 1,
        "last_beat": 1,
        "left": 16,  # values from this slice to the row's end
        "a": ADDRESS_BITS,
        "p": ADDRESS_BITS,
        "q": ADDRESS_BITS,
        "out": ADDRESS_BITS,
        "end": 1,  # last step of the command
    }
)
"""What enters the pipeline in a cycle; rows are those of the tensor."""


class VectorSequence(wiring.Component):
    """Issue the slices of a command: row by row; in blocks of `lanes` rows where it transposes.

    One slice a cycle. Where columns are summed, rows begin at least SPACING cycles apart. Behind a
    transposing pass or a packing the unit rests ``hold(spec)`` cycles: their results are late.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of VECTOR commands.
    now : ``Out``, the command at work.
    step : ``Out(STEP)``
    take : ``Out(1)``, a command is taken.
    busy : ``Out(1)``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        layout = command_layout(Unit.VECTOR, TRAINING_FIELDS)
        super().__init__(
            {
                "command": In(stream.Signature(layout)),
                "now": Out(layout),
                "step": Out(STEP),
                "take": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, c, step = self.spec, self.now, self.step
        lanes = spec.lanes

        active, issue, end, resting, late = (
            Signal(name=n) for n in ("active", "issue", "end", "resting", "late")
        )
        row, beat, left = Signal(16), Signal(16), Signal(16)
        block_row = Signal(range(max(2, lanes)))
        gap, rest = Signal(range(SPACING + 1)), Signal(range(hold(spec) + 1))
        last_beat, last_row, row_ends = Signal(), Signal(), Signal()
        fewer = Signal(16)  # values of the row behind this slice: packings go beyond its end
        m.d.comb += [
            fewer.eq(Mux(left > lanes, left - lanes, 0)),
            last_beat.eq(beat == c.beats - 1),
            row_ends.eq(Mux(c.transpose, block_row == lanes - 1, 1)),
            last_row.eq(row == c.rows - 1),
            resting.eq(rest != 0),
            issue.eq(active & (gap == 0)),
        ]
        # in blocks, the last block is over when its rows are full, real or not
        last_block = Signal()
        m.d.comb += [
            last_block.eq((row | (lanes - 1)) >= c.rows - 1),
            end.eq(issue & last_beat & Mux(c.transpose, row_ends & last_block, last_row)),
            late.eq(c.transpose | c.pack),
            self.command.ready.eq(~active & ~resting | end & ~late),
            self.busy.eq(active | resting),
        ]

        with m.If(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        with m.If(resting):
            m.d.sync += rest.eq(rest - 1)
        with m.If(issue):
            with m.If(~c.transpose):
                m.d.sync += [
                    beat.eq(Mux(last_beat, 0, beat + 1)),
                    left.eq(Mux(last_beat, c.valid, fewer)),
                    row.eq(row + last_beat),
                ]
                short = Signal(range(SPACING + 1))
                m.d.comb += short.eq(Mux(c.beats < SPACING, SPACING - c.beats, 0))
                with m.If(last_beat & c.column_sum):
                    m.d.sync += gap.eq(short)
            with m.Else():
                m.d.sync += [row.eq(row + 1), block_row.eq(block_row + 1)]
                with m.If(row_ends):
                    m.d.sync += [
                        block_row.eq(0),
                        beat.eq(Mux(last_beat, 0, beat + 1)),
                        left.eq(Mux(last_beat, c.valid, fewer)),
                    ]
                    with m.If(~last_beat):
                        m.d.sync += row.eq(row - (lanes - 1))
        with m.If(end):
            m.d.sync += active.eq(0)
            with m.If(late):
                m.d.sync += rest.eq(hold(spec))
        new = self.command.payload
        take = self.take
        m.d.comb += take.eq(self.command.valid & self.command.ready)
        with m.If(take):
            m.d.sync += [
                active.eq(1),
                c.eq(new),
                row.eq(0),
                beat.eq(0),
                block_row.eq(0),
                left.eq(new.valid),
                gap.eq(0),
            ]

        for name, base, pitch in (
            ("a", new.a_base, new.a_pitch),
            ("p", new.p_value[:ADDRESS_BITS], new.p_value[ADDRESS_BITS:]),
            ("q", new.q_value[:ADDRESS_BITS], new.q_value[ADDRESS_BITS:]),
        ):
            m.submodules[name] = walk = SliceWalk()
            m.d.comb += [
                walk.load.eq(take),
                walk.base.eq(base),
                walk.pitch.eq(pitch),
                walk.blocks.eq(c.transpose),
                walk.step.eq(issue),
                walk.first_beat.eq(beat == 0),
                walk.last_beat.eq(last_beat),
                walk.last_row.eq(row_ends),
                step[name].eq(walk.address),
            ]
        # the result: row by row as `a`; transposed, a channel a step, the next slice a block
        m.submodules.out = walk = SliceWalk()
        m.d.comb += [
            walk.load.eq(take),
            walk.base.eq(new.out_base),
            walk.pitch.eq(new.out_pitch),
            walk.blocks.eq(c.transpose),
            walk.step.eq(issue),
            walk.first_beat.eq(0),
            walk.last_beat.eq(~c.transpose & last_beat),
            walk.last_row.eq(c.transpose & row_ends & last_beat),
            step.out.eq(walk.address),
            step.valid.eq(issue),
            step.real.eq(row < c.rows),
            step.beat.eq(beat),
            step.row.eq(row),
            step.first_row.eq(row == 0),
            step.last_row.eq(last_row),
            step.first_beat.eq(beat == 0),
            step.last_beat.eq(last_beat),
            step.left.eq(left),
            step.end.eq(end),
        ]
        return m
