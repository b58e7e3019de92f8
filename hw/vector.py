"""The vector unit: LayerNorm, softmax, scaling and routing of rows, `lanes` values a cycle.

    command -> VectorSequence -> reads
    word ----> VectorLanes (slice, lanes, trees) -> results, at the places of VectorWrite
                  ^      |
                  |      +-> NormStatistics, SoftmaxStatistics -> RowScale -> row statistics
                  |                                                  |
                  +------------- RowMemory <-------------------------+

The first sweep fills the memory of row statistics, those after it read it beside the values.
Softmax of several passes has a sweep in between that sums below the maxima kept there. Routing
sweeps once for each expert of a token, each time as softmax's first sweep; a row's winner is kept
in the memory, and the next sweep looks below it. When each thing happens is said in
:mod:`moesaic.models.vector_timing`.
"""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.hw.cell import Cells
from moesaic.hw.command_layout import command_layout
from moesaic.hw.delay import delay
from moesaic.hw.norm_fetch import NormFetch
from moesaic.hw.norm_statistics import NormStatistics
from moesaic.hw.route import FLAGS, Route
from moesaic.hw.row_memory import RowMemory
from moesaic.hw.row_scale import RowScale
from moesaic.hw.softmax_statistics import SoftmaxStatistics
from moesaic.hw.vector_lane import ENTRY_BITS, MEAN_BITS, VectorLane
from moesaic.hw.vector_lanes import VectorLanes
from moesaic.hw.vector_ports import (
    NORM_READ,
    ROUTE_WRITE,
    ROWSTAT_WRITE,
    VECTOR_READ,
    vector_write,
)
from moesaic.hw.vector_sequence import VectorSequence
from moesaic.hw.vector_write import VectorWrite
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit, VectorOp
from moesaic.models.layernorm import RECIPROCAL_BITS, SCALE_BITS, mean_fraction
from moesaic.models.pipeline import RAM_READ
from moesaic.models.requant import SHIFT_BITS
from moesaic.models.vector_timing import (
    OPERAND_AT,
    SQUARE_AT,
    WRITE_AT,
    Z_AT,
    maximum_at,
    power_at,
    rowstat_at,
    statistics_at,
    total_at,
    tree_latency,
    variance_at,
)


class Vector(wiring.Component):
    """Execute one vector command at a time.

    One beat of `lanes` values a cycle and sweep, no back-pressure towards the scratchpads. A
    command takes ``models.vector_timing.vector_cycles``, whatever the values.

    Parameters
    ----------
    spec : AccelSpec
    lane_module : str, optional
        Place the lanes as instances of this module, which ``cells`` then holds; without it they
        are submodules, which simulators of Amaranth need.

    Members
    -------
    command : ``In(stream)`` of vector commands; ready when idle.
    read, read_data : scores or residual, RAM_READ cycles from `en` to the word.
    norm_read, norm_data : 64 bits a lane: int16 gain, int32 offset; the same latency.
    write : ``Out(vector_write(spec))``
    rowstat : ``Out(ROWSTAT_WRITE)``, at the place of the destination's token.
    done : ``Out(1)``, with the last write of a command.
    busy : ``Out(1)``
    route : ``Out(ROUTE_WRITE)``, only with experts, from ROUTE: first the best expert of each
        token, then the second of each and so on; places from that of the destination's token on.
        `done` comes with the last.
    route_start : ``Out(1)``, only with experts, two cycles after a ROUTE that does not append.
    """

    def __init__(self, spec: AccelSpec, *, lane_module: str | None = None) -> None:
        self.spec = spec
        self.lane_module = lane_module
        self.cells: Cells = [(lane_module, VectorLane(spec))] if lane_module else []
        routing = {"route": Out(ROUTE_WRITE), "route_start": Out(1)} if spec.experts else {}
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(Unit.VECTOR))),
                "read": Out(VECTOR_READ),
                "read_data": In(spec.wide_word * 8 * spec.wide_bytes),
                "norm_read": Out(NORM_READ),
                "norm_data": In(ENTRY_BITS * spec.lanes),
                "write": Out(vector_write(spec)),
                "rowstat": Out(ROWSTAT_WRITE),
                "done": Out(1),
                "busy": Out(1),
                **routing,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.sequence = sequence = VectorSequence(spec)
        m.submodules.lanes = lanes = VectorLanes(spec, lane_module=self.lane_module)
        m.submodules.norm = norm = NormStatistics(spec)
        m.submodules.peak = peak = SoftmaxStatistics(spec)
        m.submodules.row_scale = row_scale = RowScale(spec)
        m.submodules.write = write = VectorWrite(spec)
        m.submodules.fetch = fetch = NormFetch()
        done = write.done
        if spec.experts:
            m.submodules.route = route = Route(spec)
            done = write.done | route.done
        config = sequence.config
        softmax = config.op == VectorOp.SOFTMAX
        layernorm = config.op == VectorOp.LAYERNORM
        powers = config.op.matches(VectorOp.SOFTMAX, VectorOp.ROUTE) if spec.experts else softmax
        trees = tree_latency(spec)

        # A beat's flags travel beside it.
        length = 1 + max(WRITE_AT, rowstat_at(spec), statistics_at(spec, VectorOp.LAYERNORM))
        first = _chain(m, sequence.first, length, "first")
        last = _chain(m, sequence.last, length, "last")
        emits = _chain(m, sequence.read.en & sequence.second, length, "emits")
        ends_row = sequence.read.en & sequence.last & ~sequence.second
        if spec.experts:
            ends_row = ends_row & (config.op != VectorOp.ROUTE)
        ends = _chain(m, ends_row, length, "ends")
        known = _chain(m, sequence.known, length, "known")

        # Commands and reads; operands of the lanes.
        connect(m, flipped(self.command), sequence.command)
        connect(m, sequence.read, flipped(self.read))
        connect(m, fetch.norm_read, flipped(self.norm_read))
        fetch_at = Z_AT - 1 - RAM_READ - NormFetch.LATENCY
        m.d.comb += [
            self.busy.eq(sequence.busy),
            sequence.done.eq(done),
            lanes.read_data.eq(self.read_data),
            lanes.slice.eq(sequence.slice),
            lanes.present.eq(sequence.present),
            lanes.second.eq(emits[OPERAND_AT]),
            lanes.shift.eq(config.shift),
            lanes.softmax.eq(softmax),
            lanes.reference.eq(peak.reference),
            lanes.norm_data.eq(self.norm_data),
            lanes.use_entry.eq(layernorm),
            lanes.multiplier.eq(config.multiplier),
            fetch.start.eq(sequence.start),
            fetch.base.eq(config.norm_base),
            fetch.use.eq(layernorm),
            fetch.step.eq(emits[fetch_at]),
            fetch.last.eq(last[fetch_at]),
        ]

        # Statistics of a row, and what follows from them.
        m.d.comb += [
            norm.first.eq(first[SQUARE_AT + trees]),
            norm.squares.eq(lanes.square),
            norm.uppers.eq(lanes.upper),
            norm.lowers.eq(lanes.lower),
            norm.valid.eq(config.valid),
            norm.reciprocal.eq(config.reciprocal),
            norm.epsilon.eq(config.epsilon),
            peak.first.eq(first[OPERAND_AT + trees]),
            peak.largest.eq(lanes.candidate),
            peak.known.eq(known[OPERAND_AT + trees]),
            peak.second.eq(emits[maximum_at(spec)]),
            peak.first_sum.eq(first[power_at(spec) + trees]),
            peak.powers.eq(lanes.power),
            row_scale.root.eq(~powers),
            row_scale.operand.eq(Mux(powers, peak.total, norm.variance)),
            row_scale.fraction.eq(
                delay(m, peak.maximum, total_at(spec) - maximum_at(spec), "maximum_to_scale")
            ),
            row_scale.valid.eq(config.valid),
            row_scale.exponent.eq(config.reciprocal[RECIPROCAL_BITS:]),
            row_scale.multiplier.eq(config.multiplier),
            row_scale.shift.eq(config.shift),
        ]
        if spec.experts:
            self._route(m, sequence=sequence, lanes=lanes)
        self._remember(m, sequence=sequence, lanes=lanes, ends=ends, known=known)

        # Results.
        sums = known[rowstat_at(spec)] == config.passes[1]  # this sweep's are the row statistics
        statistic = ends[rowstat_at(spec)] & softmax & sums
        m.d.comb += [
            write.config.eq(config),
            write.start.eq(sequence.start),
            write.step.eq(emits[WRITE_AT - 1]),
            write.row_step.eq(statistic),
            self.done.eq(done),
            *(
                getattr(self.write, name).eq(getattr(write, name))
                for name in ("valid", "buffer", "bank", "word", "sub")
            ),
            self.write.narrow.eq(lanes.narrow),
            self.write.wide.eq(lanes.wide),
            self.rowstat.valid.eq(statistic),
            self.rowstat.bank.eq(write.row_bank),
            self.rowstat.row.eq(write.row),
            self.rowstat.multiplier.eq(row_scale.row_multiplier),
            self.rowstat.shift.eq(row_scale.row_shift),
        ]
        return m

    def _route(self, m: Module, *, sequence: VectorSequence, lanes: VectorLanes) -> None:
        """Find a winner for each row and sweep, beside softmax's statistics."""
        peak, row_scale = m.submodules.peak, m.submodules.row_scale
        route = m.submodules.route
        routes = sequence.config.op == VectorOp.ROUTE
        connect(m, route.route, flipped(self.route))
        m.d.comb += [
            self.route_start.eq(sequence.start & routes & ~sequence.config.append),
            route.start.eq(sequence.start),
            route.token.eq(sequence.config.dest_token),
            route.step.eq(sequence.read.en & routes),
            *(getattr(route, name).eq(getattr(sequence, name)) for name in FLAGS),
            route.candidates.eq(lanes.candidates),
            route.reference.eq(peak.reference),
            route.mantissa.eq(row_scale.mantissa),
            route.exponent.eq(row_scale.inverse_exponent),
        ]

    def _remember(
        self,
        m: Module,
        *,
        sequence: VectorSequence,
        lanes: VectorLanes,
        ends: list[Value],
        known: list[Value],
    ) -> None:
        """Keep each row's maximum, mean and scale, or winner, until the next sweep needs it."""
        spec = self.spec
        norm, peak, row_scale = m.submodules.norm, m.submodules.peak, m.submodules.row_scale
        softmax_at = statistics_at(spec, VectorOp.SOFTMAX)
        norm_at = statistics_at(spec, VectorOp.LAYERNORM)
        config = sequence.config
        softmax = config.op == VectorOp.SOFTMAX
        unit = config.op == VectorOp.SCALE

        mean = delay(m, norm.mean, norm_at - variance_at(spec), "mean_late")
        factors = Cat(mean, row_scale.scale, row_scale.z_shift)
        m.submodules.memory = memory = RowMemory(spec, entry_bits=len(factors))
        start = sequence.start
        write = Mux(softmax, ends[softmax_at] & ~known[softmax_at], ends[norm_at])
        maximum = delay(m, peak.maximum, softmax_at - maximum_at(spec), "peak")
        kept = Mux(softmax, maximum, factors)
        if spec.experts:
            route = m.submodules.route
            routes = config.op == VectorOp.ROUTE
            start = start | route.wrap
            write = Mux(routes, route.write, write)
            kept = Mux(routes, route.key.as_unsigned(), kept)
            m.d.comb += route.before.eq(memory.data)
        m.d.comb += [
            memory.start.eq(start),
            memory.write.eq(write),
            memory.entry.eq(kept),
            memory.row.eq(delay(m, sequence.row, OPERAND_AT - 2, "row")),
        ]

        # Scaling is a LayerNorm with a mean of zero and a scale of one.
        entry = memory.data
        one = (1 << (SCALE_BITS - 1), SCALE_BITS - 1 + mean_fraction(spec.wide_bits))
        mean, scale, z_shift = Signal(MEAN_BITS), Signal(SCALE_BITS), Signal(SHIFT_BITS)
        m.d.sync += [
            mean.eq(Mux(unit, 0, entry[:MEAN_BITS])),
            scale.eq(Mux(unit, one[0], entry[MEAN_BITS:][:SCALE_BITS])),
            z_shift.eq(Mux(unit, one[1], entry[MEAN_BITS + SCALE_BITS :])),
        ]
        m.d.comb += [
            lanes.mean.eq(mean),
            lanes.scale.eq(scale),
            lanes.z_shift.eq(delay(m, z_shift, SQUARE_AT - OPERAND_AT, "z_shift")),
            peak.recorded.eq(
                delay(m, entry[: spec.wide_bits], maximum_at(spec) - OPERAND_AT, "recorded")
            ),
        ]


def _chain(m: Module, value: Value, length: int, name: str) -> list[Value]:
    """Return `value` as it was 0, 1, ... ``length - 1`` cycles ago."""
    chain = [value]
    for _ in range(length - 1):
        stage = Signal(name=f"{name}_{len(chain)}")
        m.d.sync += stage.eq(chain[-1])
        chain.append(stage)
    return chain
