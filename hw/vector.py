"""The vector unit: LayerNorm, softmax and scaling of rows, `lanes` values a cycle.

    command -> VectorSequence -> reads          (VectorWrite -> places of the results)
    word -> slice -> VectorLane x lanes -> Reduce -> NormStatistics, SoftmaxStatistics
                        |    ^                                  |
                     results +--- memory of row statistics <- RowScale -> row statistics

The first sweep fills the memory of row statistics, the second reads it beside the values. When
each thing happens is said in :mod:`moesaic.models.vector_timing`.
"""

from amaranth.hdl import Cat, Module, Mux, Shape, Signal, Value, signed, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.hw.command_layout import command_layout
from moesaic.hw.delay import delay
from moesaic.hw.norm_statistics import NormStatistics
from moesaic.hw.reduce import Reduce
from moesaic.hw.row_scale import RowScale
from moesaic.hw.softmax_statistics import SoftmaxStatistics
from moesaic.hw.vector_lane import MEAN_BITS, VectorLane
from moesaic.hw.vector_ports import NORM_READ, ROWSTAT_WRITE, VECTOR_READ, vector_write
from moesaic.hw.vector_sequence import VectorSequence
from moesaic.hw.vector_write import VectorWrite
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit, VectorOp
from moesaic.models.layernorm import (
    OFFSET_BITS,
    RECIPROCAL_BITS,
    SCALE_BITS,
    cut_bits,
    mean_fraction,
)
from moesaic.models.pipeline import RAM_READ, log2
from moesaic.models.requant import SHIFT_BITS
from moesaic.models.vector_timing import (
    OPERAND_AT,
    SQUARE_AT,
    WRITE_AT,
    Z_AT,
    inverse_at,
    maximum_at,
    power_at,
    rowstat_at,
    statistics_at,
    total_at,
    tree_latency,
    variance_at,
)

NORM_ENTRY_BITS = 64
NORM_GAIN_BITS = 16


class Vector(wiring.Component):
    """Execute one vector command at a time.

    One beat of `lanes` values a cycle and sweep, no back-pressure towards the scratchpads. A
    command takes ``models.vector_timing.vector_cycles``, whatever the values.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of vector commands; ready when idle.
    read, read_data : scores or residual, RAM_READ cycles from `en` to the word.
    norm_read, norm_data : 64 bits a lane: int16 gain, int32 offset; the same latency.
    write : ``Out(vector_write(spec))``
    rowstat : ``Out(ROWSTAT_WRITE)``, at the place of the destination's token.
    done : ``Out(1)``, with the last write of a command.
    busy : ``Out(1)``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(Unit.VECTOR))),
                "read": Out(VECTOR_READ),
                "read_data": In(spec.wide_word * 8 * spec.wide_bytes),
                "norm_read": Out(NORM_READ),
                "norm_data": In(NORM_ENTRY_BITS * spec.lanes),
                "write": Out(vector_write(spec)),
                "rowstat": Out(ROWSTAT_WRITE),
                "done": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.sequence = sequence = VectorSequence(spec)
        m.submodules.write = write = VectorWrite(spec)
        lanes = [VectorLane(spec) for _ in range(spec.lanes)]
        for i, lane in enumerate(lanes):
            m.submodules[f"lane_{i}"] = lane

        connect(m, flipped(self.command), sequence.command)
        connect(m, sequence.read, flipped(self.read))
        config = sequence.config
        softmax = config.op == VectorOp.SOFTMAX
        last_at = max(WRITE_AT, total_at(spec), statistics_at(spec, VectorOp.LAYERNORM))
        last_at = max(last_at, rowstat_at(spec))
        read = taps(m, sequence.read.en, last_at, "read")
        second = taps(m, sequence.second, last_at, "second")
        first = taps(m, sequence.first, last_at, "first")
        last = taps(m, sequence.last, last_at, "last")
        m.d.comb += [
            sequence.done.eq(write.done),
            self.done.eq(write.done),
            self.busy.eq(sequence.busy),
            write.config.eq(config),
            write.start.eq(sequence.start),
            write.step.eq(read[WRITE_AT - 1] & second[WRITE_AT - 1]),
        ]

        self._operands(m, sequence, lanes)
        self._gains(m, sequence, lanes, read=read, second=second, last=last)

        # Reductions over the lanes and running statistics of the row.
        m.submodules.norm = norm = NormStatistics(spec)
        m.submodules.softmax = peak = SoftmaxStatistics(spec)
        trees = tree_latency(spec)
        m.d.comb += [
            peak.largest.eq(self._reduce(m, lanes, "candidate", maximum=True)),
            peak.first.eq(first[OPERAND_AT + trees]),
            peak.second.eq(second[maximum_at(spec)]),
            peak.powers.eq(self._reduce(m, lanes, "power")),
            peak.first_sum.eq(first[power_at(spec) + trees]),
            norm.first.eq(first[SQUARE_AT + trees]),
            norm.squares.eq(self._reduce(m, lanes, "square")),
            norm.uppers.eq(self._reduce(m, lanes, "upper")),
            norm.valid.eq(config.valid),
            norm.reciprocal.eq(config.reciprocal),
            norm.epsilon.eq(config.epsilon),
        ]
        if cut_bits(spec.wide_bits):
            m.d.comb += norm.lowers.eq(self._reduce(m, lanes, "lower"))

        # From sums to factors.
        m.submodules.row_scale = row_scale = RowScale(spec)
        maximum_late = delay(m, peak.maximum, total_at(spec) - maximum_at(spec), "maximum")
        m.d.comb += [
            row_scale.operand.eq(Mux(softmax, peak.total, norm.variance)),
            row_scale.fraction.eq(maximum_late),
            row_scale.root.eq(~softmax),
            row_scale.valid.eq(config.valid),
            row_scale.exponent.eq(config.reciprocal[RECIPROCAL_BITS:]),
            row_scale.multiplier.eq(config.multiplier),
            row_scale.shift.eq(config.shift),
        ]

        ends = [a & b & ~c for a, b, c in zip(read, last, second, strict=True)]
        mean_late = delay(
            m, norm.mean, statistics_at(spec, VectorOp.LAYERNORM) - variance_at(spec), "mean_late"
        )
        recorded = self._memory(
            m,
            sequence,
            valid=Mux(
                softmax,
                ends[statistics_at(spec, VectorOp.SOFTMAX)],
                ends[statistics_at(spec, VectorOp.LAYERNORM)],
            ),
            entry=Mux(
                softmax,
                delay(m, peak.maximum, 1, "maximum_entry"),
                Cat(mean_late, row_scale.scale, row_scale.z_shift),
            ),
        )
        self._factors(m, config, recorded, lanes)
        maximum = recorded[: spec.wide_bits].as_signed()
        m.d.comb += peak.recorded.eq(
            delay(m, maximum, maximum_at(spec) - RAM_READ, "recorded_maximum")
        )
        self._row_statistics(m, sequence, row_scale, ends[rowstat_at(spec)] & softmax)

        # Results.
        for lane in lanes:
            m.d.comb += [
                lane.second.eq(second[OPERAND_AT]),
                lane.reference.eq(peak.reference),
                lane.softmax.eq(softmax),
                lane.shift.eq(config.shift),
            ]
        container = signed(8 * spec.wide_bytes)
        m.d.comb += [
            self.write.valid.eq(write.valid),
            self.write.buffer.eq(write.buffer),
            self.write.bank.eq(write.bank),
            self.write.word.eq(write.word),
            self.write.sub.eq(write.sub),
            self.write.narrow.eq(Cat(lane.narrow for lane in lanes)),
            self.write.wide.eq(
                Cat(widen(m, lane.wide, container, f"wide_{i}") for i, lane in enumerate(lanes))
            ),
        ]
        return m
