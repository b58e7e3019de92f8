"""The stream sequencer: one beat of activations a cycle through the tiles of a product."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.queue_ports import length_bits, queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, Epilogue, Unit
from moesaic.models.geometry import narrow_word
from moesaic.models.pipeline import log2

BEAT = data.StructLayout(
    {
        "valid": 1,
        "array": 2,
        "word": 24,  # of the source scratchpad's bank 0
        "word1": 24,  # of its bank 1
        "source": 2,  # 0 input, 1 act, 2 vec
        "offset": 8,  # slice of the word, in units of `rows` operands
        "mode": 4,
        "swap": 1,  # first beat of a tile: its weights become active
        "param_swap": 1,  # first beat of a tile that finishes outputs
        "first": 1,  # starts a new sum
        "last": 1,  # finishes a sum
        "done": 1,  # last beat of the command
        "banks": 2,  # which banks hold a token
        "row": 16,  # row of tokens, or place in the queues, counted from 0
        "dest": 4,
        "dest_word": 24,
        "dest_word1": 24,
        "dest_slice": 8,  # of `columns` values
        "epilogue": 3,
        "scale_source": 2,
        "rowstat_row": 16,
        "post_multiplier": 16,
        "post_shift": 6,
        "expert": 8,
        "gather": 1,  # the words are those of the queues' tokens, `pitch` apart
        "pitch": 16,
        "dest_pitch": 16,
        "score0": 16,
        "score1": 16,
    }
)
"""Addresses and scores of queued tokens are filled in by :mod:`moesaic.hw.gather`."""


class Stream(wiring.Component):
    """Issue the beats of products: outputs outermost, then contraction, rows of tokens innermost.

    One beat a cycle; a tile's first beat waits until `full` says that its weights are there, and
    takes them. Commands follow each other without a gap. A command for an expert has as many rows
    as the longer of its queues; without any it issues one empty beat, whose end is in order with
    those of the products before it. With a place it has that row only, read from and written to the
    words that a first row has.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of STREAM commands.
    queue : ``Out(queue_lengths(spec))``, where the machine has experts.
    full, take : ``In``, ``Out``: shadow weights are loaded; they are taken in this cycle.
    beat : ``Out(BEAT)``, the beat of this cycle.
    busy, starved : ``Out(1)``: a command is at work; it waits for weights.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        members = {
            "command": In(stream.Signature(command_layout(Unit.STREAM))),
            "full": In(1),
            "take": Out(1),
            "beat": Out(BEAT),
            "busy": Out(1),
            "starved": Out(1),
        }
        if spec.experts:
            members["queue"] = Out(queue_lengths(spec))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, beat = self.spec, self.beat
        slices_log2 = log2(spec.act_word // spec.rows)

        c = Signal(command_layout(Unit.STREAM))
        active, first_row, last_row, issue, end = (
            Signal(name=n) for n in ("active", "first_row", "last_row", "issue", "end")
        )
        row, k, n = Signal(16), Signal(16), Signal(16)
        last_k = Signal()
        beats, new_beats, new_start, banks = self._rows(m, c, row)
        start_row = Signal(16)
        empty = Signal()
        m.d.comb += [
            first_row.eq(row == start_row),
            last_row.eq(row == beats - 1),
            last_k.eq(k == c.k_tiles - 1),
            issue.eq(active & (~first_row | self.full | empty)),
            end.eq(issue & (last_row & last_k & (n == c.n_tiles - 1) | empty)),
            self.take.eq(issue & first_row & ~empty),
            self.command.ready.eq(~active | end),
            self.busy.eq(active),
            self.starved.eq(active & ~issue),
        ]

        # position along the contraction, in units of `rows` operands
        position, next_position = Signal(16), Signal(16)
        step = Signal(8)
        with m.Switch(c.mode):
            for number, nm in enumerate((None, *spec.sparsity)):
                with m.Case(number):
                    m.d.comb += step.eq(spec.operands_per_beat(nm) // spec.rows)
        rows_log2 = log2(spec.rows)
        start = Signal(16)
        m.d.comb += [
            start.eq(c.position >> rows_log2),
            next_position.eq(Mux(last_k, start, position + step)),
        ]
        word = Signal(24)

        dest_position, dest_word = Signal(16), Signal(24)
        next_dest = Signal(16)
        columns_log2 = log2(spec.columns)
        dest_log2 = self._slices_log2(m, c.dest, "dest_log2")
        m.d.comb += next_dest.eq(dest_position + last_k)
        slice_mask = Signal(8)
        m.d.comb += slice_mask.eq((1 << dest_log2) - 1)

        with m.If(issue):
            m.d.sync += [
                row.eq(row + 1),
                word.eq(word + Mux(c.gather, 0, c.pitch)),
                dest_word.eq(dest_word + Mux(c.epilogue == Epilogue.WEIGH, 0, c.dest_pitch)),
            ]
            with m.If(last_row):
                m.d.sync += [
                    row.eq(start_row),
                    k.eq(Mux(last_k, 0, k + 1)),
                    n.eq(n + last_k),
                    position.eq(next_position),
                    word.eq(c.base + (next_position >> slices_log2)),
                    dest_position.eq(next_dest),
                    dest_word.eq(c.dest_base + (next_dest >> dest_log2)),
                ]
        with m.If(end):
            m.d.sync += active.eq(0)
        new, new_dest = self.command.payload, Signal(16)
        m.d.comb += new_dest.eq(new.dest_position >> columns_log2)
        new_log2 = self._slices_log2(m, new.dest, "new_log2")
        with m.If(self.command.valid & self.command.ready):
            m.d.sync += [
                active.eq(1),
                empty.eq(new_beats == 0),
                beats.eq(new_beats),
                c.eq(new),
                start_row.eq(new_start),
                row.eq(new_start),
                k.eq(0),
                n.eq(0),
                position.eq(new.position >> rows_log2),
                word.eq(new.base + (new.position >> (rows_log2 + slices_log2))),
                dest_position.eq(new_dest),
                dest_word.eq(new.dest_base + (new_dest >> new_log2)),
            ]

        m.d.comb += [
            beat.valid.eq(issue & ~empty),
            beat.array.eq(c.array),
            beat.word.eq(word),
            beat.word1.eq(word),
            beat.source.eq(Mux(c.source == Buffer.INPUT, 0, Mux(c.source == Buffer.ACT, 1, 2))),
            beat.offset.eq(position[:slices_log2]),
            beat.mode.eq(c.mode),
            beat.swap.eq(self.take),
            beat.param_swap.eq(self.take & last_k),
            beat.first.eq(k == 0),
            beat.last.eq(last_k),
            beat.done.eq(end),
            beat.banks.eq(banks),
            beat.row.eq(row),
            beat.dest.eq(c.dest),
            beat.dest_word.eq(dest_word),
            beat.dest_word1.eq(dest_word),
            beat.dest_slice.eq(dest_position & slice_mask),
            beat.epilogue.eq(c.epilogue),
            beat.scale_source.eq(c.scale_source),
            beat.rowstat_row.eq(c.rowstat_base + row),
            beat.post_multiplier.eq(c.post_multiplier),
            beat.post_shift.eq(c.post_shift),
            beat.expert.eq(c.expert),
            beat.gather.eq(c.gather),
            beat.pitch.eq(c.pitch),
            beat.dest_pitch.eq(c.dest_pitch),
        ]
        return m

    def _rows(self, m: Module, c: Value, row: Signal) -> tuple[Signal, ...]:
        """Return the end of the command's rows, end and start of the offered one's, and the banks.

        The banks are those of the present row.
        """
        spec, new = self.spec, self.command.payload
        beats, new_beats, new_start, banks = Signal(16), Signal(16), Signal(16), Signal(2)
        even = ~(c.odd & (row == beats - 1))
        m.d.comb += [new_beats.eq(new.beats), banks.eq(Cat(1, even)[: spec.tokens_per_beat])]
        if spec.experts:
            bits = length_bits(spec)
            m.d.comb += [
                self.queue.expert.eq(new.expert - 1),
                self.queue.place.eq(new.place),
                new_start.eq(Mux(new.place == 0, 0, (new.place - 1) >> log2(spec.tokens_per_beat))),
            ]
            lengths = [
                self.queue.lengths.word_select(bank, bits) for bank in range(spec.tokens_per_beat)
            ]
            with m.If(new.expert != 0):
                longest = lengths[0]
                for length in lengths[1:]:
                    longest = Mux(length > longest, length, longest)
                m.d.comb += new_beats.eq(longest)
            for bank, length in enumerate(lengths):
                kept = Signal(bits, name=f"length{bank}")
                with m.If(self.command.valid & self.command.ready):
                    m.d.sync += kept.eq(length)
                with m.If(c.expert != 0):
                    m.d.comb += banks[bank].eq(row < kept)
        return beats, new_beats, new_start, banks

    def _slices_log2(self, m: Module, dest: Value, name: str) -> Signal:
        """Return the logarithm of a destination word's slices of `columns` values."""
        spec = self.spec
        out = Signal(4, name=name)
        with m.Switch(dest):
            for buffer in (Buffer.ACT, Buffer.KV):
                with m.Case(buffer):
                    m.d.comb += out.eq(log2(narrow_word(spec, buffer) // spec.columns))
            with m.Default():
                m.d.comb += out.eq(log2(spec.wide_word // spec.columns))
        return out
