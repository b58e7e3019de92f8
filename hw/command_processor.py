"""The command processor: fetches blocks of commands and hands each to its unit's queue."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.buffer_port import buffer_write
from moesaic.hw.command_layout import command_layout
from moesaic.hw.issue import satisfied
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, COUNT_BITS, UNITS, Buffer, Unit
from moesaic.models.pipeline import log2


class CommandProcessor(wiring.Component):
    """Run a program: load its first block, then dispatch commands in order until END.

    A command is read in one cycle and dispatched in the next at the earliest; it waits for space in
    its unit's queue and, at the start of a block, for the block. The program's own first command in
    each block loads the next block into the other half of the command memory.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    start, program : ``In``, begin with the block at byte address `program`.
    load : ``In``, the load unit's beats; those for Buffer.COMMAND are kept.
    done_in : ``In``, one bit per unit: a command was completed.
    queues : ``Out``, one stream of 512-bit commands per unit.
    counts : ``Out``, completed commands per unit.
    running, finish : ``Out(1)``; `finish` in the last cycle of a run.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "start": In(1),
                "program": In(40),
                "load": In(buffer_write(spec.bus_bytes)),
                "done_in": In(len(UNITS)),
                "queues": Out(stream.Signature(8 * COMMAND_BYTES)).array(len(UNITS)),
                "counts": Out(COUNT_BITS * len(UNITS)),
                "running": Out(1),
                "finish": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        bus = 8 * spec.bus_bytes
        block_beats = spec.block_commands * COMMAND_BYTES // spec.bus_bytes
        beats_log2 = log2(COMMAND_BYTES // spec.bus_bytes)

        counts = []
        for i, unit in enumerate(UNITS):
            count = Signal(COUNT_BITS, name=f"count_{unit.name.lower()}")
            with m.If(self.start & ~self.running):
                m.d.sync += count.eq(0)
            with m.Elif(self.done_in[i]):
                m.d.sync += count.eq(count + 1)
            counts.append(count)
        m.d.comb += self.counts.eq(Cat(*counts))

        m.submodules.memory = memory = Memory(
            shape=8 * COMMAND_BYTES, depth=2 * spec.block_commands, init=[]
        )
        read, write = memory.read_port(), memory.write_port(granularity=bus)
        beat, blocks_loaded, block = Signal(range(block_beats)), Signal(8), Signal(8)
        mine = self.load.valid & (self.load.buffer == Buffer.COMMAND)
        m.d.comb += [
            write.addr.eq(self.load.line >> beats_log2),
            write.data.eq(self.load.data.replicate(COMMAND_BYTES // spec.bus_bytes)),
        ]
        for i in range(COMMAND_BYTES // spec.bus_bytes):
            m.d.comb += write.en[i].eq(mine & (self.load.line[:beats_log2] == i))
        with m.If(mine):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == block_beats - 1):
                m.d.sync += [beat.eq(0), blocks_loaded.eq(blocks_loaded + 1)]

        first = Signal(command_layout(Unit.LOAD))
        m.d.comb += [
            first.unit.eq(Unit.LOAD),
            first.address.eq(self.program),
            first.rows.eq(1),
            first.row_beats.eq(block_beats),
            first.buffer.eq(Buffer.COMMAND),
        ]
        command = Signal(command_layout(Unit.END))
        m.d.comb += command.as_value().eq(read.data)
        for i, queue in enumerate(self.queues):
            m.d.comb += queue.payload.eq(first if i == Unit.LOAD else read.data)
        place = Signal(range(2 * spec.block_commands))
        m.d.comb += [read.addr.eq(place), read.en.eq(0)]
        block_ends = (place & (spec.block_commands - 1)) == spec.block_commands - 1

        with m.FSM():
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [place.eq(0), block.eq(0), blocks_loaded.eq(0), beat.eq(0)]
                    m.next = "FIRST"
            with m.State("FIRST"):
                m.d.comb += [self.running.eq(1), self.queues[Unit.LOAD].valid.eq(1)]
                m.next = "READ"
            with m.State("READ"):
                m.d.comb += [self.running.eq(1), read.en.eq(1)]
                with m.If(blocks_loaded != block):
                    m.next = "DISPATCH"
            with m.State("DISPATCH"):
                m.d.comb += self.running.eq(1)
                m.d.comb += self.queues[Unit.LOAD].payload.eq(read.data)
                for i, unit in enumerate(UNITS):
                    with m.If(command.unit == unit):
                        m.d.comb += self.queues[i].valid.eq(1)
                        with m.If(self.queues[i].ready):
                            m.d.sync += [place.eq(place + 1), block.eq(block + block_ends)]
                            m.next = "READ"
                with m.If((command.unit == Unit.END) & satisfied(m, command, counts, "end")):
                    m.d.comb += self.finish.eq(1)
                    m.next = "IDLE"
        return m
