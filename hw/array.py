"""The unified compute unit's datapath: operands, columns, lanes, and the way to the scratchpads."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.cell import Cells, place
from moesaic.hw.column import Column, sum_bits
from moesaic.hw.distribute import Distribute
from moesaic.hw.lane import Lane
from moesaic.hw.stationary import LINE
from moesaic.hw.stream import BEAT
from moesaic.hw.weight_path import INDEX_MEMORY_BITS, WeightPath
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Epilogue, ScaleSource
from moesaic.models.pipeline import RAM_READ, log2, sum_latency, swap_latency
from moesaic.models.requant import MULTIPLIER_BITS, SHIFT_BITS
from moesaic.models.routing import GATE_SCORE_BITS

ROWSTAT_BITS = MULTIPLIER_BITS + SHIFT_BITS


class Array(wiring.Component):
    """Multiply, accumulate and finish one beat a cycle; no back-pressure anywhere.

    Results of a beat are written ``sum_latency(spec) + LANE`` cycles after it enters.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    beat, line : ``In``, what the sequencers issue in this cycle.
    words0, words1, words2 : ``In``, operand words of input, act and vec.
    weight_data, index_data, param_data, kv_data : ``In``.
    residual_en, residual_word, residual_word1, residual_data : the residual's read, of both banks,
        when a beat adds to it.
    rowstat_row, rowstat_data : the row statistics' read.
    write_valid, write_dest, write_word, write_word1, write_slice, write_narrow, write_wide :
        ``Out``, results; one valid bit per token of the beat, `write_word1` is bank 1's.
    done : ``Out(1)``, with the last result of a command.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.column, self.lane = Column(spec), Lane(spec)
        self.cells: Cells = [("moesaic_column", self.column), ("moesaic_lane", self.lane)]
        bits, tokens = spec.data_bits, spec.tokens_per_beat
        container = 8 * spec.wide_bytes
        super().__init__(
            {
                "beat": In(BEAT),
                "line": In(LINE),
                **{f"words{i}": In(tokens * spec.act_word * bits) for i in range(3)},
                "weight_data": In(spec.rows * bits),
                "index_data": In(max(1, 2 * spec.rows * INDEX_MEMORY_BITS)),
                "param_data": In(8 * max(8, spec.bus_bytes)),
                "kv_data": In(tokens * spec.kv_word * bits),
                "residual_en": Out(1),
                "residual_word": Out(24),
                "residual_word1": Out(24),
                "residual_data": In(tokens * spec.wide_word * container),
                "rowstat_row": Out(16),
                "rowstat_data": In(tokens * ROWSTAT_BITS),
                "write_valid": Out(tokens),
                "write_dest": Out(4),
                "write_word": Out(24),
                "write_word1": Out(24),
                "write_slice": Out(8),
                "write_narrow": Out(tokens * spec.columns * bits),
                "write_wide": Out(tokens * spec.columns * container),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, beat = self.spec, self.beat
        sums_at = sum_latency(spec)

        m.submodules.distribute = distribute = Distribute(spec)
        m.d.comb += [
            distribute.source.eq(beat.source),
            distribute.offset.eq(beat.offset),
            distribute.mode.eq(beat.mode),
            *(getattr(distribute, f"words{i}").eq(getattr(self, f"words{i}")) for i in range(3)),
        ]
        m.submodules.weights = path = WeightPath(spec)
        m.d.comb += [
            path.line.eq(self.line),
            path.weight_data.eq(self.weight_data),
            path.index_data.eq(self.index_data),
            path.param_data.eq(self.param_data),
            path.kv_data.eq(self.kv_data),
        ]

        # the beat's control on its way: stage[i] is the beat that was issued i cycles ago
        stages = [beat]
        for i in range(sums_at + Lane.LATENCY):
            stage = Signal(BEAT, name=f"beat{i + 1}")
            m.d.sync += stage.eq(stages[-1])
            stages.append(stage)
        post_at, select_at = sums_at + Lane.POST_AT, sums_at + Lane.SELECT_AT
        out_at = sums_at + Lane.LATENCY

        columns = self._columns(m, distribute, path, stages)
        self._memory_reads(m, stages, sums_at)
        residual = self._residual_slice(m, stages[sums_at + Lane.RESIDUAL_AT - 1])
        params, post, select = stages[sums_at + 1], stages[post_at], stages[select_at]
        weighs, scores = post.epilogue == Epilogue.WEIGH, (post.score0, post.score1)
        container = 8 * spec.wide_bytes
        for token in range(spec.tokens_per_beat):
            row_stat = self.rowstat_data.word_select(token, ROWSTAT_BITS)
            by_row = params.scale_source == ScaleSource.ROW
            by_column = params.scale_source == ScaleSource.COLUMN
            other_multiplier = Signal(MULTIPLIER_BITS, name=f"other_multiplier{token}")
            other_shift = Signal(SHIFT_BITS, name=f"other_shift{token}")
            m.d.comb += [
                other_multiplier.eq(
                    Mux(by_row, row_stat[:MULTIPLIER_BITS], params.post_multiplier)
                ),
                other_shift.eq(Mux(by_row, row_stat[MULTIPLIER_BITS:], params.post_shift)),
            ]
            for number, column in enumerate(columns):
                suffix = f"{token}_{number}"
                lane = place(m, f"lane{suffix}", "moesaic_lane", self.lane.signature)
                slot = token * spec.columns + number
                m.d.comb += [
                    lane.sum.eq(column.sums.word_select(token, sum_bits(spec))),
                    lane.first.eq(stages[sums_at].first),
                    lane.read_row.eq(stages[sums_at - 1].row),
                    lane.write_row.eq(params.row),
                    lane.write.eq(params.valid),
                    lane.bias.eq(column.bias),
                    lane.unbiased.eq(~by_column),
                    lane.multiplier.eq(Mux(by_column, column.multiplier, other_multiplier)),
                    lane.shift.eq(Mux(by_column, column.shift, other_shift)),
                    lane.weigh.eq(weighs),
                    lane.post_multiplier.eq(Mux(weighs, scores[token], post.post_multiplier)),
                    lane.post_shift.eq(Mux(weighs, GATE_SCORE_BITS, post.post_shift)),
                    lane.residual.eq(residual.word_select(slot, container)[: spec.wide_bits]),
                    lane.use_post.eq(
                        (select.epilogue == Epilogue.GELU) | (select.epilogue == Epilogue.WEIGH)
                    ),
                    self.write_narrow.word_select(slot, spec.data_bits).eq(lane.narrow),
                    self.write_wide.word_select(slot, container).eq(lane.wide),
                ]
        out = stages[out_at]
        m.d.comb += [
            self.write_valid.eq(Mux(out.valid & out.last, out.banks, 0)),
            self.write_dest.eq(out.dest),
            self.write_word.eq(out.dest_word),
            self.write_word1.eq(out.dest_word1),
            self.write_slice.eq(out.dest_slice),
            self.done.eq(out.done),
        ]
        return m

    def _columns(
        self, m: Module, distribute: Distribute, path: WeightPath, stages: list[Any]
    ) -> list[Any]:
        """Place the columns and feed them."""
        spec = self.spec
        operands = Signal.like(distribute.operands)
        m.d.comb += operands.eq(distribute.operands)
        columns = []
        for number in range(spec.columns):
            column = place(m, f"column{number}", "moesaic_column", self.column.signature)
            m.d.comb += [
                column.operands.eq(operands),
                column.swap.eq(stages[swap_latency(spec)].swap),
                column.load.eq(path.load[number]),
                column.weights.eq(path.weights),
                column.indices.eq(path.indices),
                column.row_load.eq(path.row_load),
                column.row_value.eq(path.row_values.word_select(number, spec.data_bits)),
                column.param_load.eq(path.param_load[number]),
                column.params.eq(path.params),
                column.param_swap.eq(stages[sum_latency(spec)].param_swap),
            ]
            columns.append(column)
        return columns

    def _memory_reads(self, m: Module, stages: list[Any], sums_at: int) -> None:
        """Ask for the residual and the row statistics so that they meet the sums."""
        residual = stages[sums_at + Lane.RESIDUAL_AT - 1 - RAM_READ]
        m.d.comb += [
            self.residual_en.eq(residual.valid & residual.last & _adds(residual.epilogue)),
            self.residual_word.eq(residual.dest_word),
            self.residual_word1.eq(residual.dest_word1),
            self.rowstat_row.eq(stages[sums_at + 1 - RAM_READ].rowstat_row),
        ]

    def _residual_slice(self, m: Module, stage: Any) -> Signal:
        """Cut the slice of the residual's words that columns add to, a register later; or zero."""
        spec = self.spec
        container = 8 * spec.wide_bytes
        width = spec.columns * container
        slices = log2(spec.wide_word // spec.columns)
        out = Signal(spec.tokens_per_beat * width, name="residual_slice")
        words = [
            self.residual_data.word_select(t, spec.wide_word * container)
            for t in range(spec.tokens_per_beat)
        ]
        pick = stage.dest_slice[:slices]
        added = Cat(*(word.word_select(pick, width) for word in words))
        m.d.sync += out.eq(Mux(_adds(stage.epilogue), added, 0))
        return out


def _adds(epilogue: Value) -> Value:
    """Tell whether the residual is added."""
    return (epilogue == Epilogue.ADD) | (epilogue == Epilogue.WEIGH)
