"""The AXI4-Lite slave: start, status, program address, counters, interrupt."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.commands import UNITS
from moesaic.models.register_map import REGISTERS, Register

ADDRESS_BITS = 8


def axi_lite() -> wiring.Signature:
    """Return an AXI4-Lite master's ports with 32-bit data; the slave flips it."""
    return wiring.Signature(
        {
            "awaddr": Out(ADDRESS_BITS),
            "awprot": Out(3),
            "awvalid": Out(1),
            "awready": In(1),
            "wdata": Out(32),
            "wstrb": Out(4),
            "wvalid": Out(1),
            "wready": In(1),
            "bresp": In(2),
            "bvalid": In(1),
            "bready": Out(1),
            "araddr": Out(ADDRESS_BITS),
            "arprot": Out(3),
            "arvalid": Out(1),
            "arready": In(1),
            "rdata": In(32),
            "rresp": In(2),
            "rvalid": In(1),
            "rready": Out(1),
        }
    )


class Registers(wiring.Component):
    """Registers of :mod:`moesaic.models.register_map` behind AXI4-Lite, one access at a time.

    Members
    -------
    axi : ``In(axi_lite())``.
    start, program : ``Out``, one pulse, and the address of the program.
    running, finish, error : ``In``, of the command processor and of the DMA.
    unit_busy : ``In``, one bit per unit, counted while running.
    interrupt : ``Out(1)``, high from the end of a run until cleared, where enabled.
    """

    def __init__(self) -> None:
        super().__init__(
            {
                "axi": In(axi_lite()),
                "start": Out(1),
                "program": Out(40),
                "running": In(1),
                "finish": In(1),
                "error": In(4),
                "unit_busy": In(len(UNITS)),
                "interrupt": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        axi = self.axi
        done, enable = Signal(), Signal()
        cycles = Signal(48)
        busy = [Signal(32, name=f"busy_{unit.name.lower()}") for unit in UNITS]

        with m.If(self.start):
            m.d.sync += [cycles.eq(0), done.eq(0), *(count.eq(0) for count in busy)]
        with m.Elif(self.running):
            m.d.sync += cycles.eq(cycles + 1)
            m.d.sync += [count.eq(count + self.unit_busy[i]) for i, count in enumerate(busy)]
        m.d.comb += self.interrupt.eq(done & enable)

        values = {
            Register.STATUS: done | (self.running << 1) | ((self.error != 0) << 2),
            Register.ERROR: self.error,
            Register.INTERRUPT: enable,
            Register.PROGRAM_LOW: self.program[:32],
            Register.PROGRAM_HIGH: self.program[32:],
            Register.CYCLES_LOW: cycles[:32],
            Register.CYCLES_HIGH: cycles[32:],
            **{Register[f"BUSY_{unit.name}"]: busy[i] for i, unit in enumerate(UNITS)},
        }
        assert {register for register, _ in REGISTERS} >= set(values)

        with m.If(axi.bready):
            m.d.sync += axi.bvalid.eq(0)
        write = axi.awvalid & axi.wvalid & ~axi.bvalid
        m.d.comb += [axi.awready.eq(write), axi.wready.eq(write)]
        with m.If(write):
            m.d.sync += axi.bvalid.eq(1)
            with m.Switch(axi.awaddr[2:]):
                with m.Case(Register.CONTROL >> 2):
                    m.d.comb += self.start.eq(axi.wdata[0] & ~self.running)
                    with m.If(axi.wdata[1]):
                        m.d.sync += done.eq(0)
                with m.Case(Register.INTERRUPT >> 2):
                    m.d.sync += enable.eq(axi.wdata[0])
                with m.Case(Register.PROGRAM_LOW >> 2):
                    m.d.sync += self.program[:32].eq(axi.wdata)
                with m.Case(Register.PROGRAM_HIGH >> 2):
                    m.d.sync += self.program[32:].eq(axi.wdata)
        with m.If(self.finish):  # a run that ends is not cleared by what the host writes meanwhile
            m.d.sync += done.eq(1)

        with m.If(axi.rready):
            m.d.sync += axi.rvalid.eq(0)
        m.d.comb += axi.arready.eq(~axi.rvalid)
        with m.If(axi.arvalid & axi.arready):
            m.d.sync += [axi.rvalid.eq(1), axi.rdata.eq(0)]
            with m.Switch(axi.araddr[2:]):
                for register, value in values.items():
                    with m.Case(register >> 2):
                        m.d.sync += axi.rdata.eq(value)
        return m
