"""The stream sequencer for training: one row of a tensor a cycle through the tiles of a product."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.training.walk import Walk
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.pipeline import log2
from moesaic.models.training.commands import ADDRESS_BITS, TRAINING_FIELDS, WALK

BEAT = data.StructLayout(
    {
        "valid": 1,
        "word": ADDRESS_BITS,  # of X
        "offset": 8,  # slice of the word, in units of `rows` operands
        "mode": 4,
        "outside": 1,  # operands are zero
        "swap": 1,  # first beat of a tile: its weights become active
        "first": 1,  # starts a new sum
        "last": 1,  # finishes a sum
        "done": 1,  # last beat of the command
        "row": 16,  # counted from 0: the place of its partial sums
        "dest_word": ADDRESS_BITS,  # of P
    }
)


class Stream(wiring.Component):
    """Issue the beats of products: outputs outermost, then contraction, rows innermost.

    One beat a cycle; a tile's first beat waits until `full` says that its weights are there, and
    takes them. Commands follow each other without a gap.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of STREAM commands.
    full, take : ``In``, ``Out``: shadow weights are loaded; they are taken in this cycle.
    beat : ``Out(BEAT)``, the beat of this cycle.
    busy, starved : ``Out(1)``: a command is at work; it waits for weights.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(Unit.STREAM, TRAINING_FIELDS))),
                "full": In(1),
                "take": Out(1),
                "beat": Out(BEAT),
                "busy": Out(1),
                "starved": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, beat, new = self.spec, self.beat, self.command.payload
        rows_log2, slices_log2 = log2(spec.rows), log2(spec.act_word // spec.rows)

        c = Signal(command_layout(Unit.STREAM, TRAINING_FIELDS))
        first_row, last_row, last_k, issue, accept, end = (
            Signal(name=name)
            for name in ("first_row", "last_row", "last_k", "issue", "accept", "end")
        )
        k, n = Signal(16), Signal(16)
        m.submodules.walk = walk = Walk()
        m.d.comb += [
            first_row.eq(walk.row == 0),
            last_row.eq(walk.row == c.beats - 1),
            last_k.eq(k == c.k_tiles - 1),
            issue.eq(self.busy & (~first_row | self.full)),
            end.eq(issue & last_row & last_k & (n == c.n_tiles - 1)),
            self.take.eq(issue & first_row),
            self.command.ready.eq(~self.busy | end),
            accept.eq(self.command.valid & self.command.ready),
            self.starved.eq(self.busy & ~issue),
            walk.start.eq(accept),
            *(walk.fields[field.name].eq(new[field.name]) for field in WALK),
            walk.step.eq(issue),
            walk.rewind.eq(last_row),
        ]

        # place along the contraction, in units of `rows` operands
        position, step = Signal(16), Signal(8)
        with m.Switch(c.mode):
            for number, nm in enumerate((None, *spec.sparsity)):
                with m.Case(number):
                    m.d.comb += step.eq(spec.operands_per_beat(nm) // spec.rows)

        dest, dest_tile, next_tile = (
            Signal(ADDRESS_BITS, name=name) for name in ("dest", "dest_tile", "next_tile")
        )
        dest_line = Mux(walk.image_ends, c.dest_image_step, c.dest_row_step)
        m.d.comb += next_tile.eq(dest_tile + last_k)
        with m.If(issue):
            m.d.sync += dest.eq(dest + Mux(walk.line_ends, dest_line, c.dest_pitch))
            with m.If(last_row):
                m.d.sync += [
                    k.eq(Mux(last_k, 0, k + 1)),
                    n.eq(n + last_k),
                    position.eq(Mux(last_k, c.position >> rows_log2, position + step)),
                    dest.eq(next_tile),
                    dest_tile.eq(next_tile),
                ]
        with m.If(end):
            m.d.sync += self.busy.eq(0)
        with m.If(accept):
            m.d.sync += [
                self.busy.eq(1),
                c.eq(new),
                k.eq(0),
                n.eq(0),
                position.eq(new.position >> rows_log2),
                dest.eq(new.dest_base),
                dest_tile.eq(new.dest_base),
            ]

        m.d.comb += [
            beat.valid.eq(issue),
            beat.word.eq(walk.word + (position >> slices_log2)),
            beat.offset.eq(position[:slices_log2]),
            beat.mode.eq(c.mode),
            beat.outside.eq(walk.outside),
            beat.swap.eq(self.take),
            beat.first.eq(c.first & (k == 0)),
            beat.last.eq(c.last & last_k),
            beat.done.eq(end),
            beat.row.eq(walk.row),
            beat.dest_word.eq(dest),
        ]
        return m
