"""The stationary loader: fills the columns' shadow weights tile after tile, ahead of use."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.delay import delay
from moesaic.hw.queue_ports import queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.pipeline import gather_latency, log2

LINE = data.StructLayout(
    {
        "valid": 1,
        "array": 2,
        "source_kv": 1,
        "row_mode": 1,
        "dense": 1,
        "place": 8,  # column, or row in row mode
        "index_half": 1,
        "kv_bank": 1,
        "kv_slice": 8,
        "zero": 1,  # beyond the last real token
        "params": 1,
        "param_sub": 8,
    }
)


class Stationary(wiring.Component):
    """Issue one line a cycle: a column's weights and indices, or a token of K or V.

    A tile takes `columns` cycles (`rows` in row mode); the next one begins a cycle after the
    stream took this one. `full` is high from the cycle after a tile's last line until it is taken.
    Lines and addresses leave ``gather_latency(spec)`` cycles after their issue, as the beats' do. A
    command for an expert without tokens takes one cycle.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of STATIONARY commands.
    queue : ``Out(queue_lengths(spec))``, where the machine has experts.
    full, take : ``Out``, ``In``.
    line : ``Out(LINE)``, what is read in this cycle.
    weight_line, index_line, param_column, kv_word : ``Out``, addresses.
    done, busy : ``Out(1)``; `done` comes with the last read of a command.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        members = {
            "command": In(stream.Signature(command_layout(Unit.STATIONARY))),
            "full": Out(1),
            "take": In(1),
            "line": Out(LINE),
            "weight_line": Out(24),
            "index_line": Out(24),
            "param_column": Out(16),
            "kv_word": Out(24),
            "done": Out(1),
            "busy": Out(1),
        }
        if spec.experts:
            members["queue"] = Out(queue_lengths(spec))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, line = self.spec, Signal(LINE)
        empty, new_empty = Signal(), Signal()
        if spec.experts:
            m.d.comb += [
                self.queue.expert.eq(self.command.payload.expert - 1),
                self.queue.place.eq(self.command.payload.place),
                new_empty.eq((self.command.payload.expert != 0) & (self.queue.lengths == 0)),
            ]
        rows, columns, banks = spec.rows, spec.columns, spec.tokens_per_beat
        kv_log2, rows_log2, columns_log2 = log2(spec.kv_word), log2(rows), log2(columns)

        c = Signal(command_layout(Unit.STATIONARY))
        active, issue, last_place, last_k, end = (
            Signal(name=n) for n in ("active", "issue", "last_place", "last_k", "end")
        )
        place, k, n = Signal(8), Signal(16), Signal(16)
        m.d.comb += [
            issue.eq(active & ~self.full & ~empty),
            last_place.eq(place == Mux(c.row_mode, rows - 1, columns - 1)),
            last_k.eq(k == c.k_tiles - 1),
            end.eq((issue & last_place & last_k & (n == c.n_tiles - 1)) | (active & empty)),
            self.command.ready.eq(~active | end),
            self.busy.eq(active),
        ]

        weight, index, param = Signal(24), Signal(25), Signal(16)
        token, token_word, n_word = Signal(16), Signal(24), Signal(24)
        position = Signal(16)
        next_token_word = Signal(24)
        row_ends = token[: log2(banks)].all() if banks > 1 else 1
        m.d.comb += next_token_word.eq(token_word + Mux(row_ends, c.pitch, 0))

        with m.If(self.take):
            m.d.sync += self.full.eq(0)
        with m.If(issue):
            m.d.sync += [
                place.eq(place + 1),
                weight.eq(weight + 1),
                index.eq(index + 1),
                param.eq(param + last_k),
                token.eq(token + 1),
                token_word.eq(next_token_word),
            ]
            with m.If(last_place):
                m.d.sync += [
                    self.full.eq(1),
                    place.eq(0),
                    k.eq(Mux(last_k, 0, k + 1)),
                    n.eq(n + last_k),
                ]
                with m.If(c.row_mode):  # tokens run along the contraction
                    with m.If(last_k):
                        m.d.sync += [
                            token.eq(0),
                            token_word.eq(c.base),
                            position.eq(position + columns),
                        ]
                with m.Elif(last_k):  # tokens run along the outputs
                    m.d.sync += [n_word.eq(next_token_word), position.eq(c.position)]
                with m.Else():
                    m.d.sync += [
                        token.eq(token - (columns - 1)),
                        token_word.eq(n_word),
                        position.eq(position + rows),
                    ]
        with m.If(end):
            m.d.sync += active.eq(0)
        new = self.command.payload
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                active.eq(1),
                empty.eq(new_empty),
                c.eq(new),
                place.eq(0),
                k.eq(0),
                n.eq(0),
                weight.eq(new.base),
                index.eq(new.index_base << 1),
                param.eq(new.param_base),
                token.eq(0),
                token_word.eq(new.base),
                n_word.eq(new.base),
                position.eq(new.position),
            ]

        row_slice, column_slice = Signal(8), Signal(8)
        m.d.comb += [
            row_slice.eq(position[columns_log2:kv_log2]),
            column_slice.eq(position[rows_log2:kv_log2]),
            line.valid.eq(issue),
            line.array.eq(c.array),
            line.source_kv.eq(c.source_kv),
            line.row_mode.eq(c.row_mode),
            line.dense.eq(c.mode == 0),
            line.place.eq(place),
            line.index_half.eq(index[0]),
            line.kv_bank.eq(token[0] if banks > 1 else 0),
            line.kv_slice.eq(Mux(c.row_mode, row_slice, column_slice)),
            line.zero.eq(c.row_mode & (token >= c.k_valid)),
            line.params.eq(issue & c.use_params & last_k),
            line.param_sub.eq(param),
        ]
        for port, now in (
            (self.line.as_value(), line.as_value()),
            (self.weight_line, weight),
            (self.index_line, index >> 1),
            (self.param_column, param),
            (self.kv_word, (token_word + (position >> kv_log2))[:24]),
            (self.done, end),
        ):
            m.d.comb += port.eq(delay(m, now, gather_latency(spec), "late"))
        return m
