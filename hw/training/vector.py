"""The vector unit of the training machine: passes and packings."""

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.cell import Cells, place
from moesaic.hw.command_layout import command_layout
from moesaic.hw.delay import delay
from moesaic.hw.float_convert import FloatExtend
from moesaic.hw.training.column_sum import ColumnSum
from moesaic.hw.training.memories import READ as READ_PORT
from moesaic.hw.training.memories import SIDES, slice_write
from moesaic.hw.training.pack import Pack
from moesaic.hw.training.pack_walk import PackWalk
from moesaic.hw.training.pass_lane import PassLane
from moesaic.hw.training.row_max import RowMax
from moesaic.hw.training.row_sum import RowSum
from moesaic.hw.training.transpose import Transpose
from moesaic.hw.training.vector_operands import VectorOperands
from moesaic.hw.training.vector_sequence import VectorSequence
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.float_format import FORMATS, FP32
from moesaic.models.float_timing import EXTEND
from moesaic.models.pipeline import log2
from moesaic.models.training.commands import TRAINING_FIELDS
from moesaic.models.training.passes import Combine
from moesaic.models.training.timing import (
    COLUMN_SUM,
    KEPT,
    PACK,
    row_max_latency,
    row_sum_latency,
    transpose_latency,
)
from moesaic.models.training.vector_fields import ADDRESS_BITS, Memory, OperandKind, Target
from moesaic.models.training.vector_timing import OPERANDS, column_at, done_at, result_at

NOWHERE = 7  # no memory's number
CONTROL = data.StructLayout(
    {
        "valid": 1,
        "real": 1,
        "first_row": 1,
        "last_row": 1,
        "first_beat": 1,
        "last_beat": 1,
        "last_block": 1,
        "row_fits": 1,  # transposing: this step's column of the block is a channel
        "beat": 16,
        "left": 16,
        "lane": 8,
        "combine": 3,
        "function": 3,
        "watch": 1,
        "target": 2,
        "transpose": 1,
        "fill": 1,
        "row_sum": 1,
        "row_max": 1,
        "column_sum": 1,
        "pack": 1,
        "lines": 1,
        "mode": 4,
        "out": ADDRESS_BITS,
        "row_slice": ADDRESS_BITS,
        "column_base": 16,
        "line": ADDRESS_BITS,
        "place_line": ADDRESS_BITS,
    }
)
"""What a slice takes along."""


class Vector(wiring.Component):
    """Run VECTOR commands: one slice a cycle through operands, lanes, sums and to the memories.

    Results are written ``result_at(spec)`` cycles after a slice's issue, what S gets
    ``column_at(spec)``; a command is done ``done_at(spec)`` cycles after its last slice's.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of VECTOR commands.
    a_read, p_read, q_read and a_data, p_data, q_data, x_data : the memories' reads.
    x_write, x_fill, v_write, s_write, k_write, line, places : as the memories take them.
    done, busy : ``Out(1)``
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        fmt, lanes = FORMATS[spec.numbers], spec.lanes
        self.lane = PassLane(fmt)
        self.cells: Cells = [("moesaic_pass_lane", self.lane)]
        floats = slice_write(lanes, FP32.bits)
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(Unit.VECTOR, TRAINING_FIELDS))),
                **{f"{side}_read": Out(READ_PORT) for side in SIDES},
                **{f"{side}_data": In(FP32.bits * lanes) for side in SIDES},
                "x_data": In(lanes * spec.data_bits),
                "x_write": Out(slice_write(lanes, spec.data_bits)),
                "x_fill": Out(1),
                "v_write": Out(floats),
                "s_write": Out(floats),
                "k_write": Out(floats),
                "line": Out(slice_write(spec.weight_word, spec.data_bits)),
                "places": Out(slice_write(spec.weight_word, 4)),
                "done": Out(1),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.sequence = sequence = VectorSequence(spec)
        wiring.connect(m, wiring.flipped(self.command), sequence.command)
        m.d.comb += self.busy.eq(sequence.busy)

        control = self._control(m, sequence)
        self._reads(m, sequence)
        at = {0: control}
        for when in sorted(self._stages()):
            before = max(at)
            at[when] = stage = Signal(CONTROL, name=f"at{when}")
            late = delay(m, at[before].as_value(), when - before, f"control{when}")
            m.d.comb += stage.as_value().eq(late)
        z, rounded = self._lanes(m, sequence, at[OPERANDS], at[result_at(spec)])
        self._results(m, at, z, rounded)
        self._sums(m, at, z)
        self._packing(m, at, rounded)
        end = sequence.step.end
        m.d.comb += self.done.eq(delay(m, end, done_at(spec), "end"))
        return m

    def _stages(self) -> set[int]:
        """Return the cycles after a slice's issue in which somebody looks at its control."""
        spec = self.spec
        z = result_at(spec)
        return {
            OPERANDS,
            z,
            z + COLUMN_SUM,
            z + KEPT + EXTEND,
            z + PACK,
            z + transpose_latency(spec.lanes),
            column_at(spec),
        }

    def _control(self, m: Module, sequence: VectorSequence) -> Any:
        """Gather what a slice takes along."""
        spec, c, step = self.spec, sequence.now, sequence.step
        lanes_log2 = log2(spec.lanes)
        control = Signal(CONTROL, name="control")
        m.submodules.pack_walk = walk = PackWalk(spec)
        m.d.comb += [
            walk.load.eq(sequence.take),
            walk.mode.eq(c.mode),
            walk.step.eq(step.valid),
            walk.last_beat.eq(step.last_beat),
        ]
        for name in ("valid", "real", "first_row", "last_row", "first_beat", "last_beat"):
            m.d.comb += control[name].eq(step[name])
        for name in (
            *("combine", "function", "watch", "target", "transpose", "fill", "row_sum"),
            *("row_max", "column_sum", "pack", "lines", "mode", "column_base"),
        ):
            m.d.comb += control[name].eq(c[name])
        m.d.comb += [
            control.last_block.eq((step.row | (spec.lanes - 1)) >= c.rows - 1),
            control.row_fits.eq(step.row[:lanes_log2] < step.left),
            control.beat.eq(step.beat),
            control.left.eq(step.left),
            control.lane.eq(step.row[:lanes_log2]),
            control.out.eq(step.out),
            control.row_slice.eq(c.row_base + (step.row >> lanes_log2)),
            control.line.eq(c.row_base + walk.line),
            control.place_line.eq((c.index_base << 1) + walk.line),
        ]
        return control

    def _reads(self, m: Module, sequence: VectorSequence) -> None:
        """Ask the memories, and tell the operands what comes."""
        c, step = sequence.now, sequence.step
        row = step.row >> log2(self.spec.lanes)
        m.d.comb += [
            self.a_read.memory.eq(Mux(step.valid, c.a_memory, NOWHERE)),
            self.a_read.slice.eq(step.a),
        ]
        for side in "pq":
            kind, port = c[f"{side}_kind"], getattr(self, f"{side}_read")
            column = kind == OperandKind.COLUMN
            used = step.valid & (column | (kind == OperandKind.MEMORY))
            base = c[f"{side}_value"][:ADDRESS_BITS]
            m.d.comb += [
                port.memory.eq(Mux(used, Mux(column, Memory.S, c[f"{side}_memory"]), NOWHERE)),
                port.slice.eq(Mux(column, base + row, step[side])),
            ]

    def _lanes(
        self, m: Module, sequence: VectorSequence, early: Any, late: Any
    ) -> tuple[list[Value], list[Value]]:
        """Place the lanes; return their results, and the rounded ones with +0 where none counts."""
        spec, c = self.spec, sequence.now
        m.submodules.operands = operands = VectorOperands(spec)
        form = operands.form
        m.d.comb += [
            form.a_x.eq(c.a_memory == Memory.X),
            form.lane.eq(sequence.step.row[: log2(spec.lanes)]),
            operands.x_data.as_value().eq(self.x_data),
        ]
        for side in SIDES:
            m.d.comb += (
                getattr(operands, f"{side}_data").as_value().eq(getattr(self, f"{side}_data"))
            )
        for side in "pq":
            m.d.comb += [
                form[f"{side}_kind"].eq(c[f"{side}_kind"]),
                form[f"{side}_x"].eq(c[f"{side}_memory"] == Memory.X),
                form[f"{side}_number"].eq(c[f"{side}_value"][: FP32.bits]),
            ]
        seen = Signal()
        results, rounded, not_finite = [], [], []
        for number in range(spec.lanes):
            lane = place(m, f"lane{number}", "moesaic_pass_lane", self.lane.signature)
            m.d.comb += [
                lane.a.eq(operands.a[number]),
                lane.p.eq(operands.p[number]),
                lane.q.eq(operands.q[number]),
                lane.combine.eq(early.combine),
                lane.operation.eq(early.function),
                lane.seen.eq(seen),
            ]
            counts = late.real & (number < late.left)
            z: Value = lane.z
            results.append(z)
            rounded.append(Mux(counts, lane.rounded, 0))
            infinite = z[FP32.fraction_bits : -1].all()
            not_finite.append(counts & infinite)
        found = late.valid & late.watch & Cat(*not_finite).any()
        asked = early.valid & (early.combine == Combine.WATCHED) & early.last_beat & early.last_row
        m.d.sync += seen.eq((seen & ~asked) | found)
        return results, rounded

    def _results(self, m: Module, at: dict[int, Any], z: list[Value], rounded: list[Value]) -> None:
        """Write X and V, transposed or not, and what is kept of a packing."""
        spec = self.spec
        now, turned = at[result_at(spec)], at[result_at(spec) + transpose_latency(spec.lanes)]
        counts = [now.real & (number < now.left) for number in range(spec.lanes)]
        columns = {}
        for name, values, bits in (("x", rounded, spec.data_bits), ("v", z, FP32.bits)):
            transpose = Transpose(lanes=spec.lanes, bits=bits)
            m.submodules[f"transpose_{name}"] = transpose
            row = Cat(*(Mux(c, value, 0) for c, value in zip(counts, values, strict=True)))
            m.d.comb += [
                transpose.valid.eq(now.valid & now.transpose),
                transpose.row.as_value().eq(row),
            ]
            columns[name] = transpose.column.as_value()
        straight = now.valid & ~now.transpose & ~now.pack
        later = turned.valid & turned.transpose & turned.row_fits
        x_later, v_later = later & (turned.target == Target.X), later & (turned.target == Target.V)
        m.d.comb += [
            self.x_write.valid.eq(straight & (now.target == Target.X) | x_later),
            self.x_write.slice.eq(Mux(x_later, turned.out, now.out)),
            self.x_write.data.eq(Mux(x_later, columns["x"], Cat(*rounded))),
            self.x_fill.eq(Mux(x_later, turned.fill & turned.last_block, now.fill & now.last_beat)),
        ]
        kept_at = at[result_at(spec) + KEPT + EXTEND]
        kept = kept_at.valid & kept_at.pack & (kept_at.target == Target.V)
        self._kept = Signal(spec.lanes * FP32.bits, name="kept")
        m.d.comb += [
            self.v_write.valid.eq(straight & (now.target == Target.V) | v_later | kept),
            self.v_write.slice.eq(Mux(kept, kept_at.out, Mux(v_later, turned.out, now.out))),
            self.v_write.data.eq(Mux(kept, self._kept, Mux(v_later, columns["v"], Cat(*z)))),
        ]

    def _sums(self, m: Module, at: dict[int, Any], z: list[Value]) -> None:
        """Sum rows and columns; write S and K."""
        spec = self.spec
        start = result_at(spec)
        now, then, sums = at[start], at[column_at(spec)], at[start + COLUMN_SUM]
        enable = Cat(*(number < now.left for number in range(spec.lanes)))
        m.submodules.row_sum = row_sum = RowSum(lanes=spec.lanes)
        m.submodules.row_max = row_max = RowMax(lanes=spec.lanes)
        for unit, wanted in ((row_sum, now.row_sum), (row_max, now.row_max)):
            m.d.comb += [
                unit.valid.eq(now.valid & wanted),
                unit.first.eq(now.first_beat),
                unit.last.eq(now.last_beat),
                unit.enable.eq(enable),
                unit.values.as_value().eq(Cat(*z)),
            ]
        spare = column_at(spec) - start
        total = delay(m, row_sum.sum, spare - row_sum_latency(spec.lanes), "row_sum_late")
        largest = delay(m, row_max.largest, spare - row_max_latency(spec.lanes), "row_max_late")
        one = Mux(then.row_sum, total, largest)
        straight = then.valid & (then.target == Target.S)
        row = then.valid & then.last_beat & (then.row_sum | then.row_max)
        lanes = Cat(*(then.lane == number for number in range(spec.lanes)))
        m.d.comb += [
            self.s_write.valid.eq(straight | row),
            self.s_write.slice.eq(Mux(row, then.row_slice, then.out)),
            self.s_write.enable.eq(Mux(row, lanes, ~0)),
            self.s_write.data.eq(
                Mux(row, one.replicate(spec.lanes), delay(m, Cat(*z), spare, "z_late"))
            ),
        ]

        m.submodules.column_sum = column_sum = ColumnSum(lanes=spec.lanes, depth=spec.sum_words)
        m.d.comb += [
            column_sum.valid.eq(now.valid & now.column_sum),
            column_sum.first.eq(now.first_row),
            column_sum.last.eq(now.last_row),
            column_sum.place.eq(now.beat),
            column_sum.values.as_value().eq(Cat(*z)),
            self.k_write.valid.eq(column_sum.sum_valid),
            self.k_write.slice.eq(sums.column_base + column_sum.sum_place),
            self.k_write.data.eq(column_sum.sums.as_value()),
        ]

    def _packing(self, m: Module, at: dict[int, Any], rounded: list[Value]) -> None:
        """Fill lines of packed weights."""
        spec = self.spec
        fmt = FORMATS[spec.numbers]
        now, then = at[result_at(spec)], at[result_at(spec) + PACK]
        m.submodules.pack = pack = Pack(
            fmt=fmt, lanes=spec.lanes, word=spec.weight_word, modes=spec.sparsity
        )
        m.d.comb += [
            pack.valid.eq(now.valid & now.pack),
            pack.mode.eq(now.mode),
            pack.values.as_value().eq(Cat(*rounded)),
            self.line.valid.eq(pack.line_valid & then.lines),
            self.line.slice.eq(then.line),
            self.line.data.eq(pack.line.as_value()),
            self.places.valid.eq(pack.line_valid & then.lines & (then.mode != 0)),
            self.places.slice.eq(then.place_line),
            self.places.data.eq(pack.places.as_value()),
        ]
        wide = []
        for number in range(spec.lanes):
            m.submodules[f"kept{number}"] = extend = FloatExtend(fmt)
            m.d.comb += extend.i.eq(pack.kept[number])
            wide.append(extend.result)
        m.d.comb += self._kept.eq(Cat(*wide))
