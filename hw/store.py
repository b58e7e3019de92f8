"""Store: strided copies from the scratchpads to memory, as an AXI4 write master."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from moesaic.hw.axi import RESP_OKAY, AXIWrite, drive_constants
from moesaic.hw.buffer_port import buffer_read
from moesaic.hw.burst_walk import BurstWalk
from moesaic.hw.command_layout import command_layout
from moesaic.hw.line_walk import LineWalk
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.timing import STORE_READ_LATENCY

# A beat holds its place from its read until the cycle after it is sent, STORE_READ_LATENCY + 2
# cycles: with fewer places than that, a beat per cycle could not flow.
QUEUE_BEATS = 8


class Store(wiring.Component):
    """Copy pieces of a buffer to memory: STORE commands, one at a time.

    Pieces lie as in :class:`moesaic.hw.load.Load`. A burst's address goes out one cycle after it
    was issued, together with its first read; its beats follow at one per cycle, each
    ``STORE_READ_LATENCY + 1`` cycles after its read. Bursts follow each other without a gap as
    long as fewer than ``spec.outstanding`` wait for their responses. Where WREADY is low, a queue
    takes what was already read, and reads stop. ``dataflow.memory.WriteChannel`` gives the cycles
    in closed form.

    Parameters
    ----------
    spec : AccelSpec
        Gives `bus_bytes`, `outstanding` and `burst_beats`.

    Members
    -------
    command : ``In(stream.Signature(command_layout(Unit.STORE)))``
    axi : ``Out(AXIWrite(spec.bus_bytes))``
    read : ``Out(buffer_read())``
    read_data : ``In(8 * spec.bus_bytes)``
        Valid exactly ``STORE_READ_LATENCY`` cycles after ``read.en``.
    done : ``Out(1)``
        Pulse in the cycle after a command's last response.
    busy : ``Out(1)``
        From the cycle after a command was taken to that of its ``done``.
    error : ``Out(2)``
        The first BRESP other than OKAY; stays until reset.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "command": In(stream.Signature(command_layout(Unit.STORE))),
                "axi": Out(AXIWrite(spec.bus_bytes)),
                "read": Out(buffer_read()),
                "read_data": In(8 * spec.bus_bytes),
                "done": Out(1),
                "busy": Out(1),
                "error": Out(2),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi, command = self.axi, self.command.payload
        m.submodules.bursts = bursts = BurstWalk(self.spec)
        m.submodules.lines = lines = LineWalk()
        m.submodules.queue = queue = SyncFIFO(width=8 * self.spec.bus_bytes + 1, depth=QUEUE_BEATS)
        running = Signal()
        in_flight = Signal(range(self.spec.outstanding + 1))
        burst_left = Signal(9)
        room = Signal(range(QUEUE_BEATS + 1), init=QUEUE_BEATS)
        read_pipe = Signal(STORE_READ_LATENCY)
        last_pipe = Signal(STORE_READ_LATENCY)

        # Commands and addresses.
        take = self.command.valid & self.command.ready
        read_ends = (burst_left == 0) | ((burst_left == 1) & self.read.en)
        issue = Signal()
        drive_constants(m, axi, "aw")
        m.d.comb += [
            self.command.ready.eq(~running),
            bursts.start.eq(take),
            bursts.start_address.eq(command.address),
            bursts.rows.eq(command.rows),
            bursts.row_beats.eq(command.row_beats),
            bursts.row_pitch.eq(command.row_pitch),
            bursts.step.eq(issue),
            issue.eq(
                bursts.active
                & read_ends
                & (in_flight != self.spec.outstanding)
                & (~axi.awvalid | axi.awready)
            ),
        ]
        with m.If(issue):
            m.d.sync += [
                axi.awvalid.eq(1),
                axi.awaddr.eq(bursts.address),
                axi.awlen.eq(bursts.beats - 1),
                burst_left.eq(bursts.beats),
            ]
        with m.Else():
            m.d.sync += burst_left.eq(burst_left - self.read.en)
            with m.If(axi.awready):
                m.d.sync += axi.awvalid.eq(0)

        # Reads, and the queue that takes them whatever WREADY does.
        sent = axi.wvalid & axi.wready
        m.d.comb += [
            lines.start.eq(take),
            lines.start_buffer.eq(command.buffer),
            lines.start_line.eq(command.line),
            lines.line_pitch.eq(command.line_pitch),
            lines.rows.eq(command.rows),
            lines.row_beats.eq(command.row_beats),
            lines.step.eq(self.read.en),
            self.read.en.eq((burst_left != 0) & (room != 0)),
            self.read.buffer.eq(lines.buffer),
            self.read.line.eq(lines.line),
            queue.w_en.eq(read_pipe[-1]),
            queue.w_data.eq(Cat(self.read_data, last_pipe[-1])),
            queue.r_en.eq(axi.wready),
            axi.wvalid.eq(queue.r_rdy),
            Cat(axi.wdata, axi.wlast).eq(queue.r_data),
            axi.wstrb.eq(~0),
        ]
        m.d.sync += [
            read_pipe.eq(Cat(self.read.en, read_pipe)),
            last_pipe.eq(Cat(burst_left == 1, last_pipe)),
            room.eq(room + sent - self.read.en),
        ]

        # Responses.
        finish = running & ~bursts.active & (in_flight == 1) & axi.bvalid
        m.d.comb += [axi.bready.eq(1), self.busy.eq(running | self.done)]
        m.d.sync += [
            in_flight.eq(in_flight + issue - axi.bvalid),
            self.done.eq(finish),
        ]
        with m.If(take):
            m.d.sync += running.eq(1)
        with m.Elif(finish):
            m.d.sync += running.eq(0)
        with m.If(axi.bvalid & (axi.bresp != RESP_OKAY) & (self.error == RESP_OKAY)):
            m.d.sync += self.error.eq(axi.bresp)
        return m
