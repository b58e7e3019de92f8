"""Load: strided copies from memory into the scratchpads, as an AXI4 read master."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from moesaic.hw.axi import RESP_OKAY, AXIRead, drive_constants
from moesaic.hw.buffer_port import BUFFER_BITS, LINE_BITS, buffer_write
from moesaic.hw.burst_walk import BurstWalk
from moesaic.hw.command_layout import command_layout
from moesaic.hw.line_walk import LineWalk
from moesaic.hw.queue_ports import queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit

SKIP_BITS = 10  # commands that may be skipped in a row
DESCRIPTOR = data.StructLayout(
    {
        "buffer": BUFFER_BITS,
        "line": LINE_BITS,
        "line_pitch": 16,
        "rows": 16,
        "row_beats": 16,
        "skipped": SKIP_BITS,
    }
)
"""What the data side keeps of a command until its beats arrive."""


class Load(wiring.Component):
    """Copy pieces of memory into a buffer: LOAD commands, in order.

    Piece ``r`` begins at byte ``address + r * row_pitch`` in memory and at beat
    ``line + r * line_pitch`` in the buffer, and both sides of a piece are contiguous. Commands have
    at least one piece and one beat. A command for an expert without tokens copies nothing; it is
    done right after the one before it. The field ``gather`` is reserved and ignored.

    The address side issues at best one burst per cycle, the first one in the cycle after its
    command was taken, as long as fewer than ``spec.outstanding`` are in flight. With its last burst
    it takes the next command; ``spec.queue_depth`` commands wait for their data behind the one
    whose data arrives. Data never waits: one beat per cycle, written one cycle after it arrived.
    ``dataflow.memory.ReadChannel`` gives the cycles in closed form.

    Parameters
    ----------
    spec : AccelSpec
        Gives `bus_bytes`, `outstanding`, `burst_beats` and `queue_depth`.

    Members
    -------
    command : ``In(stream.Signature(command_layout(Unit.LOAD)))``
    queue : ``Out(queue_lengths(spec))``, where the machine has experts.
    axi : ``Out(AXIRead(spec.bus_bytes))``
    write : ``Out(buffer_write(spec.bus_bytes))``
        One beat into a buffer; nobody may refuse it.
    done : ``Out(1)``
        Pulse in the cycle of a command's last write.
    busy : ``Out(1)``
        From the cycle after a command was taken to that of its ``done``.
    error : ``Out(2)``
        The first RRESP other than OKAY; stays until reset.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        members = {
            "command": In(stream.Signature(command_layout(Unit.LOAD))),
            "axi": Out(AXIRead(spec.bus_bytes)),
            "write": Out(buffer_write(spec.bus_bytes)),
            "done": Out(1),
            "busy": Out(1),
            "error": Out(2),
        }
        if spec.experts:
            members["queue"] = Out(queue_lengths(spec))
        super().__init__(members)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi, command = self.axi, self.command.payload
        m.submodules.bursts = bursts = BurstWalk(self.spec)
        m.submodules.lines = lines = LineWalk()
        m.submodules.waiting = waiting = SyncFIFO(
            width=DESCRIPTOR.size, depth=self.spec.queue_depth
        )
        pushed = data.View(DESCRIPTOR, waiting.w_data)
        popped = data.View(DESCRIPTOR, waiting.r_data)
        in_flight = Signal(range(self.spec.outstanding + 1))

        # Addresses.
        offered = self.command.valid & self.command.ready
        empty = Signal()
        if self.spec.experts:
            m.d.comb += [
                self.queue.expert.eq(command.expert - 1),
                self.queue.place.eq(command.place),
                empty.eq((command.expert != 0) & (self.queue.lengths == 0)),
            ]
        take = offered & ~empty
        issue = axi.arvalid & axi.arready
        drive_constants(m, axi, "ar")
        m.d.comb += [
            self.command.ready.eq((~bursts.active | (issue & bursts.last)) & waiting.w_rdy),
            bursts.start.eq(take),
            bursts.start_address.eq(command.address),
            bursts.rows.eq(command.rows),
            bursts.row_beats.eq(command.row_beats),
            bursts.row_pitch.eq(command.row_pitch),
            bursts.step.eq(issue),
            axi.arvalid.eq(bursts.active & (in_flight != self.spec.outstanding)),
            axi.araddr.eq(bursts.address),
            axi.arlen.eq(bursts.beats - 1),
            waiting.w_en.eq(take),
            pushed.buffer.eq(command.buffer),
            pushed.line.eq(command.line),
            pushed.line_pitch.eq(command.line_pitch),
            pushed.rows.eq(command.rows),
            pushed.row_beats.eq(command.row_beats),
        ]

        # Data.
        finish = axi.rvalid & lines.last
        next_waiting = (~lines.active | finish) & waiting.r_rdy
        m.d.comb += [
            axi.rready.eq(1),
            waiting.r_en.eq(next_waiting),
            lines.start.eq(next_waiting),
            lines.start_buffer.eq(popped.buffer),
            lines.start_line.eq(popped.line),
            lines.line_pitch.eq(popped.line_pitch),
            lines.rows.eq(popped.rows),
            lines.row_beats.eq(popped.row_beats),
            lines.step.eq(axi.rvalid),
        ]
        skipping = self._done(
            m,
            skip=offered & empty,
            idle=~lines.active & ~waiting.r_rdy,
            start=next_waiting,
            finish=finish,
        )

        m.d.comb += self.busy.eq(
            bursts.active | waiting.r_rdy | lines.active | self.done | skipping
        )
        m.d.sync += [
            in_flight.eq(in_flight + issue - (axi.rvalid & axi.rlast)),
            self.write.valid.eq(axi.rvalid),
            self.write.buffer.eq(lines.buffer),
            self.write.line.eq(lines.line),
            self.write.data.eq(axi.rdata),
        ]
        with m.If(axi.rvalid & (axi.rresp != RESP_OKAY) & (self.error == RESP_OKAY)):
            m.d.sync += self.error.eq(axi.rresp)
        return m

    def _done(self, m: Module, *, skip: Value, idle: Value, start: Value, finish: Value) -> Value:
        """One ``done`` for each command, in order; return whether skipped ones are on their way.

        Skipped commands are done in the cycle after the last beat of the one before them: they
        wait in `pending` until that is over, or travel with the next command's descriptor.
        """
        if not self.spec.experts:
            m.d.sync += self.done.eq(finish)
            return Const(0)
        waiting = m.submodules.waiting
        pushed = data.View(DESCRIPTOR, waiting.w_data)
        popped = data.View(DESCRIPTOR, waiting.r_data)
        pending, late, owed = Signal(SKIP_BITS), Signal(SKIP_BITS), Signal(SKIP_BITS)
        now = Signal(SKIP_BITS)
        flush = idle & (pending != 0)
        m.d.comb += [
            pushed.skipped.eq(Mux(flush, 0, pending)),
            now.eq(Mux(flush, pending, Mux(start & ~finish, popped.skipped, 0))),
            self.done.eq(owed != 0),
        ]
        m.d.sync += [
            pending.eq(Mux(flush | waiting.w_en, 0, pending) + skip),
            late.eq(Mux(start & finish, popped.skipped, 0)),
            owed.eq(owed - self.done + finish + now + late),
        ]
        return (pending != 0) | (late != 0)
