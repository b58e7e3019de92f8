"""Runs inside the simulator: another project's AXI master against the standard memory."""

import itertools
import logging
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import RisingEdge
from cocotbext.axi import AxiBus, AxiMaster, AxiResp

ROUNDS = 30


def pauses(seed: int) -> Iterator[int]:
    rng = random.Random(seed)  # noqa: S311
    return (rng.random() < 0.4 for _ in itertools.count())


async def start(dut: Any) -> AxiMaster:
    logging.getLogger("cocotb.axi_memory_bench").setLevel(logging.WARNING)
    # A clock made in Verilog would show the master each register after its edge.
    Clock(dut.clk, 10, "ns").start()
    master = AxiMaster(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst)
    for _ in range(3):
        await RisingEdge(dut.clk)
    dut.rst.value = 0
    for _ in range(3):
        await RisingEdge(dut.clk)
    return master


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def keeps_what_was_written(dut: Any) -> None:
    master = await start(dut)
    if os.environ["PAUSES"] == "1":
        for seed, channel in enumerate((master.read_if.ar_channel, master.read_if.r_channel)):
            channel.set_pause_generator(pauses(seed))
        write = master.write_if
        for seed, channel in enumerate((write.aw_channel, write.w_channel, write.b_channel), 9):
            channel.set_pause_generator(pauses(seed))
    rng = random.Random(5)  # noqa: S311
    image = bytearray(Path(os.environ["IMAGE"]).read_bytes())
    written = 0
    for _ in range(ROUNDS):
        # Any byte address and length: partial strobes at both ends, several bursts in flight.
        at = rng.randrange(len(image) - 3000)
        data = rng.randbytes(rng.choice([1, 3, 8, 40, 2600]))
        await master.write(at, data)
        image[at : at + len(data)] = data
        written += len(data)
        reads = [(rng.randrange(len(image) - 700), rng.randrange(1, 700)) for _ in range(3)]
        for task, (place, size) in [(cocotb.start_soon(master.read(*r)), r) for r in reads]:
            assert bytes((await task).data) == image[place : place + size]
    assert dut.write_bytes.value.to_unsigned() == written
    image[-8:] = bytes(8)  # as the next test leaves it
    Path("expected.bin").write_bytes(image)


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def refuses_what_lies_outside(dut: Any) -> None:
    dut.rst.value = 1
    master = await start(dut)
    end = len(Path(os.environ["IMAGE"]).read_bytes())
    assert (await master.write(end - 8, bytes(8))).resp == AxiResp.OKAY
    assert (await master.write(end, bytes(8))).resp == AxiResp.DECERR
    answer = await master.read(end - 8, 24)
    assert (answer.resp, bytes(answer.data)) == (AxiResp.DECERR, bytes(24))
    assert (await master.read(1 << 39, 8)).resp == AxiResp.DECERR
    assert (await master.read(0, 8)).resp == AxiResp.OKAY
