"""Runs inside the simulator: waits until the bench raises ``finished``."""

import cocotb
from cocotb.handle import SimHandleBase
from cocotb.triggers import RisingEdge


@cocotb.test()
async def runs_to_its_end(dut: SimHandleBase) -> None:
    """Wait; the bench itself bounds its cycles."""
    await RisingEdge(dut.finished)
