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
