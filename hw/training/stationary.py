"""The stationary loader for training: lines of W, or rows of a tensor in X, in either direction."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.stationary import LINE
from moesaic.hw.training.walk import Walk
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.pipeline import log2
from moesaic.models.training.commands import ADDRESS_BITS, TRAINING_FIELDS, WALK


class Stationary(wiring.Component):
    """Issue one line a cycle: a column's weights and places, or a row of a tensor.

    A tile takes `columns` cycles (`rows` in row mode); the next one begins a cycle after the stream
    took this one. `full` is high from the cycle after a tile's last line until it is taken.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of STATIONARY commands.
    full, take : ``Out``, ``In``.
    line : ``Out(LINE)``, what is read in this cycle; X stands where the integer machine has K/V.
    weight_line, index_line, word : ``Out(24)``, words of W, its places, and X.
    done, busy : ``Out(1)``; `done` comes with the last read of a command.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        layout = command_layout(Unit.STATIONARY, TRAINING_FIELDS)
        super().__init__(
            {
                "command": In(stream.Signature(layout)),
                "full": Out(1),
                "take": In(1),
                "line": Out(LINE),
                "weight_line": Out(ADDRESS_BITS),
                "index_line": Out(ADDRESS_BITS),
                "word": Out(ADDRESS_BITS),
                "done": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, new = self.spec, self.command.payload
        rows, columns = spec.rows, spec.columns
        word_log2, rows_log2, columns_log2 = log2(spec.act_word), log2(rows), log2(columns)

        c = Signal(command_layout(Unit.STATIONARY, TRAINING_FIELDS))
        issue, accept, last_place, last_k = (
            Signal(name=name) for name in ("issue", "accept", "last_place", "last_k")
        )
        place, k, n = Signal(8), Signal(16), Signal(16)
        m.d.comb += [
            issue.eq(self.busy & ~self.full),
            last_place.eq(place == Mux(c.row_mode, rows - 1, columns - 1)),
            last_k.eq(k == c.k_tiles - 1),
            self.done.eq(issue & last_place & last_k & (n == c.n_tiles - 1)),
            self.command.ready.eq(~self.busy | self.done),
            accept.eq(self.command.valid & self.command.ready),
        ]

        # Rows run along the contraction in row mode, else along the outputs: they come again for
        # each tile across.
        m.submodules.walk = walk = Walk()
        m.d.comb += [
            walk.start.eq(accept),
            *(walk.fields[field.name].eq(new[field.name]) for field in WALK),
            walk.step.eq(issue),
            walk.rewind.eq(last_place & (last_k == c.row_mode)),
            walk.mark.eq(last_place & last_k & ~c.row_mode),
        ]

        # a word of W holds a column's lines of several tiles along the contraction
        parts = spec.weight_word // rows
        part, position = Signal(range(parts)), Signal(16)
        weight, tile = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        index, index_tile = Signal(ADDRESS_BITS + 1), Signal(ADDRESS_BITS + 1)
        again = Signal()  # the next tile's lines are in the same words
        m.d.comb += again.eq(~last_k & (part != parts - 1))
        with m.If(self.take):
            m.d.sync += self.full.eq(0)
        with m.If(issue):
            m.d.sync += [place.eq(place + 1), weight.eq(weight + 1), index.eq(index + 1)]
            with m.If(last_place):
                m.d.sync += [
                    self.full.eq(1),
                    place.eq(0),
                    part.eq(Mux(again, part + 1, 0)),
                    weight.eq(Mux(again, tile, weight + 1)),
                    tile.eq(Mux(again, tile, weight + 1)),
                    index.eq(Mux(again, index_tile, index + 1)),
                    index_tile.eq(Mux(again, index_tile, index + 1)),
                    k.eq(Mux(last_k, 0, k + 1)),
                    n.eq(n + last_k),
                ]
                with m.If(c.row_mode):
                    m.d.sync += position.eq(position + Mux(last_k, columns, 0))
                with m.Else():
                    m.d.sync += position.eq(Mux(last_k, c.position, position + rows))
        with m.If(self.done):
            m.d.sync += self.busy.eq(0)
        with m.If(accept):
            m.d.sync += [
                self.busy.eq(1),
                c.eq(new),
                k.eq(0),
                n.eq(0),
                part.eq(0),
                weight.eq(new.line_base),
                tile.eq(new.line_base),
                index.eq(new.index_base << 1),
                index_tile.eq(new.index_base << 1),
                position.eq(new.position),
            ]

        x_slice = Mux(c.row_mode, position[columns_log2:word_log2], position[rows_log2:word_log2])
        m.d.comb += [
            self.line.valid.eq(issue),
            self.line.source_kv.eq(c.source_x),
            self.line.row_mode.eq(c.row_mode),
            self.line.dense.eq(c.mode == 0),
            self.line.place.eq(place),
            self.line.index_half.eq(index[0]),
            self.line.kv_slice.eq(Mux(c.source_x, x_slice, part)),
            self.line.zero.eq((walk.row >= c.valid) | walk.outside),
            self.weight_line.eq(weight),
            self.index_line.eq(index >> 1),
            self.word.eq(walk.word + (position >> word_log2)),
        ]
        return m
