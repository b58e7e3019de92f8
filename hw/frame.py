"""What every accelerator has around its compute units: host, memory, commands.

host --AXI4-Lite--> Registers --start--> CommandProcessor --queues--> one Issue per unit
memory <==AXI4==> Load, Store
"""

from collections.abc import Mapping
from typing import Any

from amaranth.hdl import Cat, Module
from amaranth.hdl._ir import PortDirection
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.hw.axi import AXIRead, AXIWrite
from moesaic.hw.cell import Cells, place
from moesaic.hw.command_processor import CommandProcessor
from moesaic.hw.emit import to_verilog
from moesaic.hw.issue import Issue
from moesaic.hw.load import Load
from moesaic.hw.registers import Registers, axi_lite
from moesaic.hw.store import Store
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import UNITS, Fields


class Frame(wiring.Component):
    """An accelerator's ports, its host side, its DMA and its command queues.

    Parameters
    ----------
    spec : AccelSpec
    fields : mapping
        The machine's table of commands.
    compute : mapping of str to Component
        ``stationary``, ``stream``, ``vector``, ``array``, ``memories`` and more.

    Members
    -------
    s_axi_control : AXI4-Lite slave.
    m_axi_gmem0, m_axi_gmem1 : AXI4 masters; the first only reads, the second only writes.
    interrupt : ``Out(1)``.
    """

    def __init__(self, spec: AccelSpec, fields: Fields, compute: Mapping[str, Any]) -> None:
        self.spec = spec
        self.parts: dict[str, Any] = {
            "registers": Registers(),
            "processor": CommandProcessor(spec),
            "load": Load(spec),
            "store": Store(spec),
            **compute,
        }
        self.gates = {unit: Issue(unit, depth=spec.queue_depth, fields=fields) for unit in UNITS}
        self.cells: Cells = [
            *((f"moesaic_{name}", part) for name, part in self.parts.items()),
            *((f"moesaic_issue_{unit.name.lower()}", gate) for unit, gate in self.gates.items()),
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
        stationary, stream, vector, array = (
            placed[name] for name in ("stationary", "stream", "vector", "array")
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

        # copies
        memories = placed["memories"]
        for target in (memories.load, processor.load):
            m.d.comb += [
                target.valid.eq(load.write.valid),
                target.buffer.eq(load.write.buffer),
                target.line.eq(load.write.line),
                target.data.eq(load.write.data),
            ]
        connect(m, store.read, memories.store)
        m.d.comb += [
            store.read_data.eq(memories.store_data),
            stream.full.eq(stationary.full),
            stationary.take.eq(stream.take),
        ]
        self.compute(m, placed)
        return m

    def compute(self, m: Module, placed: dict[str, Any]) -> None:
        """Wire products and vectors; `placed` are the parts by name."""
        raise NotImplementedError


def frame_verilog(top: Frame) -> str:
    """Return an accelerator as one Verilog file; its top module is ``moesaic_top``."""
    ports = {
        "_".join(map(str, path)): (
            value,
            PortDirection.Input if member.flow == In else PortDirection.Output,
        )
        for path, member, value in top.signature.flatten(top)
    }
    return to_verilog(top, name="moesaic_top", extra=top.cells, ports=ports)
