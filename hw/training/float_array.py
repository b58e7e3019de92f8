"""The floating-point array: operands, columns, partial sums, and the way to P."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.cell import Cells, place
from moesaic.hw.delay import delay
from moesaic.hw.distribute import Distribute
from moesaic.hw.element import operand_count
from moesaic.hw.float_accumulate import FloatAccumulate
from moesaic.hw.float_operand import FloatUnpack
from moesaic.hw.stationary import LINE
from moesaic.hw.training.float_column import FloatColumn
from moesaic.hw.training.stream import BEAT
from moesaic.hw.weight_path import INDEX_MEMORY_BITS, WeightPath
from moesaic.models.accel import AccelSpec
from moesaic.models.float_format import FORMATS, FP32
from moesaic.models.pipeline import RAM_READ, log2
from moesaic.models.training.commands import ADDRESS_BITS
from moesaic.models.training.product_timing import result_latency, swap_latency, term_latency


class FloatArray(wiring.Component):
    """Multiply and accumulate one beat a cycle; no back-pressure anywhere.

    Words are due ``RAM_READ`` cycles behind their beat or line. Results of a beat are written
    ``result_latency(spec)`` cycles after it enters. A partial sum is visited again after
    ``ACCUMULATE_GAP`` cycles at the earliest: a tile's lines take longer to load.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    beat, line : ``In``, what the sequencers issue in this cycle.
    stream_data, stationary_data : ``In``, words of X that `beat` and `line` ask for.
    weight_data, index_data : ``In``, words of W and of places, each of several lines.
    write_valid, write_word, write_data : ``Out``, results: a word of P, float by float.
    done : ``Out(1)``, with the last result of a command.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.unpack = FloatUnpack(FORMATS[spec.numbers])
        self.column = FloatColumn(spec)
        self.accumulate = FloatAccumulate(depth=spec.psum_depth)
        self.cells: Cells = [
            ("moesaic_unpack", self.unpack),
            ("moesaic_float_column", self.column),
            ("moesaic_accumulate", self.accumulate),
        ]
        word = spec.act_word * spec.data_bits
        super().__init__(
            {
                "beat": In(BEAT),
                "line": In(LINE),
                "stream_data": In(word),
                "stationary_data": In(word),
                "weight_data": In(spec.weight_word * spec.data_bits),
                "index_data": In(2 * spec.weight_word * INDEX_MEMORY_BITS),
                "write_valid": Out(1),
                "write_word": Out(ADDRESS_BITS),
                "write_data": Out(spec.columns * FP32.bits),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, beat = self.spec, self.beat

        # stages[i] is the beat that was issued i cycles ago
        stages: list[Any] = [beat]
        for i in range(result_latency(spec)):
            stage = Signal(BEAT, name=f"beat{i + 1}")
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)

        m.submodules.distribute = distribute = Distribute(spec)
        m.submodules.weights = path = WeightPath(spec)
        part = delay(m, self.line.kv_slice, RAM_READ, "part")  # of a word of several lines
        halves = [self.index_data.word_select(half, len(self.index_data) // 2) for half in (0, 1)]
        places = [self._line(half, part, INDEX_MEMORY_BITS) for half in halves]
        m.d.comb += [
            # The integer machine's second source is open: its words are zero.
            distribute.source.eq(beat.outside),
            distribute.offset.eq(beat.offset),
            distribute.mode.eq(beat.mode),
            distribute.words0.eq(self.stream_data),
            path.line.eq(self.line),
            path.weight_data.eq(self._line(self.weight_data, part, spec.data_bits)),
            path.index_data.eq(Cat(*places)),
            path.kv_data.eq(self.stationary_data),
        ]
        operands = self._unpack(m, distribute.operands, operand_count(spec), "operand")
        weights = self._unpack(m, path.weights, spec.rows, "weight")
        row_values = self._unpack(m, path.row_values, spec.columns, "row_value")
        wait = self.unpack.LATENCY
        load = delay(m, path.load, wait, "load")
        row_load = delay(m, path.row_load, wait, "row_load")
        indices = delay(m, path.indices, wait, "indices")

        term = stages[term_latency(spec)]
        for number in range(spec.columns):
            column = place(m, f"column{number}", "moesaic_float_column", self.column.signature)
            sums = place(m, f"sums{number}", "moesaic_accumulate", self.accumulate.signature)
            m.d.comb += [
                column.operands.eq(Cat(*operands)),
                column.swap.eq(stages[swap_latency(spec)].swap),
                column.load.eq(load[number]),
                column.weights.eq(Cat(*weights)),
                column.indices.eq(indices),
                column.row_load.eq(row_load),
                column.row_value.eq(row_values[number]),
                sums.valid.eq(term.valid),
                sums.place.eq(term.row[: log2(spec.psum_depth)]),
                sums.first.eq(term.first),
                sums.term.eq(column.sum),
                self.write_data.word_select(number, FP32.bits).eq(sums.sum),
            ]
        out = stages[-1]
        m.d.comb += [
            self.write_valid.eq(out.valid & out.last),
            self.write_word.eq(out.dest_word),
            self.done.eq(out.done),
        ]
        return m

    def _line(self, word: Value, part: Value, bits: int) -> Value:
        """Return one line of a word of W."""
        parts = log2(self.spec.weight_word // self.spec.rows)
        return word.word_select(part[:parts], self.spec.rows * bits) if parts else word

    def _unpack(self, m: Module, packed: Value, count: int, name: str) -> list[Value]:
        """Return `count` operands that lie side by side, unpacked."""
        bits, out = self.spec.data_bits, []
        for i in range(count):
            unpack = place(m, f"unpack_{name}{i}", "moesaic_unpack", self.unpack.signature)
            m.d.comb += unpack.i.eq(packed.word_select(i, bits))
            out.append(unpack.o.as_value())
        return out
