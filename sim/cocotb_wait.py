"""Runs inside the simulator: waits until the bench raises ``finished``."""

from typing import Any

import cocotb
from cocotb.triggers import RisingEdge


@cocotb.test()
async def runs_to_its_end(dut: Any) -> None:
    """Wait; the bench itself bounds its cycles."""
    await RisingEdge(dut.finished)
