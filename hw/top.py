"""The accelerator: read this file first, it is the block diagram.

host --AXI4-Lite--> Registers --start--> CommandProcessor --queues--> one Issue per unit
                                                                         |
memory <==AXI4==> Load, Store   Stationary   Stream   Vector  <----------+
                      |   |          |          |        |  |
                      |   |          |       Gather <-------+-- Queues (tokens of each expert)
                      |   |          |          |        |
                      +---+---- Memories (scratchpads) --+
                                     |          |
                                 Array (columns, lanes)
"""

from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.hw.array import Array
from moesaic.hw.axi import AXIRead, AXIWrite
from moesaic.hw.cell import Cells, place
from moesaic.hw.command_processor import CommandProcessor
from moesaic.hw.emit import to_verilog
from moesaic.hw.gather import Gather
from moesaic.hw.issue import Issue
from moesaic.hw.load import Load
from moesaic.hw.memories import Memories
from moesaic.hw.queues import Queues
from moesaic.hw.registers import Registers, axi_lite
from moesaic.hw.separate_arrays import SeparateArrays
from moesaic.hw.stationary import Stationary
from moesaic.hw.store import Store
from moesaic.hw.stream import Stream
from moesaic.hw.vector import Vector
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import UNITS


class Top(wiring.Component):
    """One accelerator with its two memory channels, its registers and its interrupt.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    s_axi_control : AXI4-Lite slave.
    m_axi_gmem0, m_axi_gmem1 : AXI4 masters; the first only reads, the second only writes.
    interrupt : ``Out(1)``.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.parts: dict[str, Any] = {
            "registers": Registers(),
            "processor": CommandProcessor(spec),
            "load": Load(spec),
            "store": Store(spec),
            "stationary": Stationary(spec),
            "stream": Stream(spec),
            "vector": Vector(spec, lane_module="moesaic_vector_lane"),
            "array": Array(spec) if spec.arrays == "unified" else SeparateArrays(spec),
            "memories": Memories(spec),
        }
        if spec.experts:
            self.parts |= {"gather": Gather(spec), "queues": Queues(spec)}
        self.gates = {unit: Issue(unit, depth=spec.queue_depth) for unit in UNITS}
        self.cells: Cells = [
            *((f"moesaic_{name}", part) for name, part in self.parts.items()),
            *((f"moesaic_issue_{unit.name.lower()}", gate) for unit, gate in self.gates.items()),
            *self.parts["array"].cells,
            *self.parts["vector"].cells,
        ]
        super().__init__(
            {
                "s_axi_control": In(axi_lite()),
                "m_axi_gmem0": Out(AXIRead(spec.bus_bytes)),
                "m_axi_gmem1": Out(AXIWrite(spec.bus_bytes)),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        placed = {
            name: place(m, name, f"moesaic_{name}", part.signature)
            for name, part in self.parts.items()
        }
        registers, processor, load, store = (
            placed[name] for name in ("registers", "processor", "load", "store")
        )
        stationary, stream, vector, array, memories = (
            placed[name] for name in ("stationary", "stream", "vector", "array", "memories")
        )

        # host and memory
        connect(m, flipped(self.s_axi_control), registers.axi)
        connect(m, load.axi, flipped(self.m_axi_gmem0))
        connect(m, store.axi, flipped(self.m_axi_gmem1))
        m.d.comb += [
            processor.start.eq(registers.start),
            processor.program.eq(registers.program),
            registers.running.eq(processor.running),
            registers.finish.eq(processor.finish),
            registers.error.eq(Cat(load.error, store.error)),
            self.interrupt.eq(registers.interrupt),
        ]

        # commands: queue, waits, unit
        units = (load, store, stationary, stream, vector)
        for i, (name, unit) in enumerate(zip(UNITS, units, strict=True)):
            label = f"issue_{name.name.lower()}"
            issue = place(m, label, f"moesaic_{label}", self.gates[name].signature)
            connect(m, processor.queues[i], issue.queue)
            connect(m, issue.command, unit.command)
            m.d.comb += issue.counts.eq(processor.counts)
        m.d.comb += [
            processor.done_in.eq(
                Cat(load.done, store.done, stationary.done, array.done, vector.done)
            ),
            registers.unit_busy.eq(Cat(*(unit.busy for unit in units))),
        ]

        # routing of tokens to experts
        beat = stream.beat
        if self.spec.experts:
            gather, queues = placed["gather"], placed["queues"]
            connect(m, vector.route, queues.route)
            connect(m, load.queue, queues.load)
            connect(m, stationary.queue, queues.stationary)
            connect(m, stream.queue, queues.stream)
            connect(m, gather.queue, queues.read)
            m.d.comb += [queues.start.eq(vector.route_start), gather.i.eq(stream.beat)]
            beat = gather.o

        # products
        m.d.comb += [
            stream.full.eq(stationary.full),
            stationary.take.eq(stream.take),
            array.beat.eq(beat),
            array.line.eq(stationary.line),
            memories.stream_word.eq(beat.word),
            memories.stream_word1.eq(beat.word1),
            memories.weight_line.eq(stationary.weight_line),
            memories.index_line.eq(stationary.index_line),
            memories.param_column.eq(stationary.param_column),
            memories.kv_word.eq(stationary.kv_word),
            array.words0.eq(memories.words0),
            array.words1.eq(memories.words1),
            array.words2.eq(memories.words2),
            array.weight_data.eq(memories.weight_data),
            array.index_data.eq(memories.index_data),
            array.param_data.eq(memories.param_data),
            array.kv_data.eq(memories.kv_data),
            memories.residual_en.eq(array.residual_en),
            memories.residual_word.eq(array.residual_word),
            memories.residual_word1.eq(array.residual_word1),
            array.residual_data.eq(memories.residual_data),
            memories.rowstat_row.eq(array.rowstat_row),
            array.rowstat_data.eq(memories.rowstat_data),
            memories.write_valid.eq(array.write_valid),
            memories.write_dest.eq(array.write_dest),
            memories.write_word.eq(array.write_word),
            memories.write_word1.eq(array.write_word1),
            memories.write_slice.eq(array.write_slice),
            memories.write_narrow.eq(array.write_narrow),
            memories.write_wide.eq(array.write_wide),
        ]

        # copies and vectors
        for target in (memories.load, processor.load):
            m.d.comb += [
                target.valid.eq(load.write.valid),
                target.buffer.eq(load.write.buffer),
                target.line.eq(load.write.line),
                target.data.eq(load.write.data),
            ]
        connect(m, store.read, memories.store)
        connect(m, vector.read, memories.vector_read)
        connect(m, vector.norm_read, memories.norm_read)
        connect(m, vector.write, memories.vector_write)
        connect(m, vector.rowstat, memories.rowstat_write)
        m.d.comb += [
            store.read_data.eq(memories.store_data),
            vector.read_data.eq(memories.vector_data),
            vector.norm_data.eq(memories.norm_data),
        ]
        return m


def top_verilog(spec: AccelSpec) -> str:
    """Return the accelerator as one Verilog file; its top module is ``moesaic_top``."""
    top = Top(spec)
    ports = {
        "_".join(map(str, path)): (
            value,
            PortDirection.Input if member.flow == In else PortDirection.Output,
        )
        for path, member, value in top.signature.flatten(top)
    }
    return to_verilog(top, name="moesaic_top", extra=top.cells, ports=ports)
