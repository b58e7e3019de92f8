"""The way from the scratchpads to the columns' shadow weights: slice, broadcast, place."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.element import index_bits
from moesaic.hw.stationary import LINE
from moesaic.models.accel import AccelSpec
from moesaic.models.numbers import INTEGER
from moesaic.models.pipeline import RAM_READ, log2, param_latency
from moesaic.models.requant import BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS

PARAM_BITS = BIAS_BITS + MULTIPLIER_BITS + SHIFT_BITS
INDEX_MEMORY_BITS = 4  # bits of an index in memory, whatever the array decodes


def one_hot(valid: Value, place: Value, width: int) -> Value:
    """Return `width` bits of which bit `place` is set, none where not `valid`."""
    return Cat(*(valid & (place == i) for i in range(width)))


class WeightPath(wiring.Component):
    """Bring one line a cycle to the columns.

    `line` is due in the cycle of the read; columns get their load ``load_latency(spec)`` cycles
    later, parameters ``param_latency(spec)`` later. No back-pressure.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    line : ``In(LINE)``.
    weight_data, index_data, param_data, kv_data : ``In``, words that were read.
    load : ``Out(columns)``, one bit per column whose `weights` and `indices` these are.
    row_load, row_values : ``Out``, one bit per row, and one value for each column.
    param_load, params : ``Out``.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        bits = spec.data_bits
        super().__init__(
            {
                "line": In(LINE),
                "weight_data": In(spec.rows * bits),
                "index_data": In(max(1, 2 * spec.rows * INDEX_MEMORY_BITS)),
                "param_data": In(8 * max(8, spec.bus_bytes)),
                "kv_data": In(spec.tokens_per_beat * spec.kv_word * bits),
                "load": Out(spec.columns),
                "weights": Out(spec.rows * bits),
                "indices": Out(max(1, spec.rows * index_bits(spec))),
                "row_load": Out(spec.rows),
                "row_values": Out(spec.columns * bits),
                "param_load": Out(spec.columns),
                "params": Out(PARAM_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, bits, width = self.spec, self.spec.data_bits, index_bits(self.spec)
        kv_bits = spec.kv_word * bits

        line = Signal(LINE)
        m.d.comb += line.as_value().eq(delay(m, self.line.as_value(), RAM_READ, "line"))

        kv = Signal(kv_bits)
        m.d.comb += kv.eq(self.kv_data.word_select(line.kv_bank, kv_bits))
        column, values = Signal(spec.rows * bits), Signal(spec.columns * bits)
        row_steps = log2(spec.kv_word // spec.columns)
        column_steps = log2(spec.kv_word // spec.rows)
        m.d.comb += [
            column.eq(kv.word_select(line.kv_slice[:column_steps], spec.rows * bits)),
            values.eq(kv.word_select(line.kv_slice[:row_steps], spec.columns * bits)),
        ]
        if spec.numbers != INTEGER:  # rows of a tensor end within a tile in either direction
            column = Mux(line.zero, 0, column)
        place, row_mode, valid = Signal(8), Signal(), Signal()
        weights, row_values = Signal(spec.rows * bits), Signal(spec.columns * bits)
        m.d.sync += [
            valid.eq(line.valid),
            place.eq(line.place),
            row_mode.eq(line.row_mode),
            weights.eq(Mux(line.source_kv, column, self.weight_data)),
            row_values.eq(Mux(line.zero, 0, values)),
        ]
        m.d.sync += [
            self.load.eq(one_hot(valid & ~row_mode, place, spec.columns)),
            self.row_load.eq(one_hot(valid & row_mode, place, spec.rows)),
            self.weights.eq(weights),
            self.row_values.eq(row_values),
        ]
        if width:
            indices = Signal(spec.rows * width)
            half = self.index_data.word_select(line.index_half, spec.rows * INDEX_MEMORY_BITS)
            picked: list[Value] = [
                Mux(
                    line.dense | line.row_mode,
                    row % spec.group_rows,
                    half.word_select(row, INDEX_MEMORY_BITS)[:width],
                )
                for row in range(spec.rows)
            ]
            m.d.sync += [
                indices.eq(Cat(*(Cat(value)[:width] for value in picked))),
                self.indices.eq(indices),
            ]
        if spec.numbers == INTEGER:
            self._params(m, line)
        return m

    def _params(self, m: Module, line: Value) -> None:
        """Bring the parameters of the integer machine's columns."""
        spec = self.spec
        subs = log2(max(8, spec.bus_bytes) // 8)
        param = Signal(PARAM_BITS)
        m.d.comb += param.eq(self.param_data.word_select(line.param_sub[:subs], 64))
        rest = param_latency(spec) - RAM_READ - 1
        late = delay(m, Cat(line.params, line.place, param), rest, "param")
        m.d.sync += [
            self.params.eq(late[9:]),
            self.param_load.eq(one_hot(late[0], late[1:9], spec.columns)),
        ]
