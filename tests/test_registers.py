"""hw.registers over AXI4-Lite with random gaps: start, done, interrupt, counters, all registers."""

from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from amaranth.sim import Simulator, SimulatorContext

from moesaic.hw.registers import Registers
from moesaic.models.commands import UNITS
from moesaic.models.register_map import REGISTERS, Register

STEPS = 400  # of any wait
STALLS = pytest.mark.parametrize("stall", [0.0, 0.6], ids=["eager", "stalling"])
START, CLEAR = 1, 2
DONE, RUNNING, ERROR = 1, 2, 4


class Host:
    """An AXI4-Lite master that hesitates; its channels move independently of each other."""

    def __init__(self, ctx: SimulatorContext, dut: Registers, stall: float) -> None:
        self.ctx, self.axi, self.stall = ctx, dut.axi, stall
        self.rng = np.random.default_rng(int(10 * stall))

    async def write(self, address: int, value: int) -> int:
        """Write and return the cycles from the data's handshake to the response's."""
        ctx, axi = self.ctx, self.axi
        ctx.set(axi.awaddr, address)
        ctx.set(axi.wdata, value)
        ctx.set(axi.wstrb, 0xF)
        waiting = {"aw", "w"}
        response = None
        for cycle in range(STEPS):
            for channel in waiting:
                if not ctx.get(getattr(axi, f"{channel}valid")):
                    ctx.set(getattr(axi, f"{channel}valid"), self.rng.random() >= self.stall)
            ctx.set(axi.bready, self.rng.random() >= self.stall)
            taken = {
                c
                for c in waiting
                if ctx.get(getattr(axi, f"{c}valid")) and ctx.get(getattr(axi, f"{c}ready"))
            }
            answered = ctx.get(axi.bvalid) and ctx.get(axi.bready)
            assert not (answered and waiting), "answered before all was sent"
            await ctx.tick()
            for channel in taken:
                ctx.set(getattr(axi, f"{channel}valid"), 0)
                waiting = waiting - {channel}
                response = cycle
            if answered:
                assert ctx.get(axi.bresp) == 0
                assert response is not None
                return cycle - response
        raise TimeoutError("a write was not answered")

    async def read(self, address: int) -> int:
        ctx, axi = self.ctx, self.axi
        ctx.set(axi.araddr, address)
        asked = False
        for _ in range(STEPS):
            if not asked and not ctx.get(axi.arvalid):
                ctx.set(axi.arvalid, self.rng.random() >= self.stall)
            ctx.set(axi.rready, self.rng.random() >= self.stall)
            taken = ctx.get(axi.arvalid) and ctx.get(axi.arready)
            answered = ctx.get(axi.rvalid) and ctx.get(axi.rready)
            value = ctx.get(axi.rdata)
            await ctx.tick()
            if taken:
                ctx.set(axi.arvalid, 0)
                asked = True
            if answered:
                assert asked
                return int(value)
        raise TimeoutError("a read was not answered")


Script = Callable[[SimulatorContext, Registers, Host], Awaitable[None]]


def run(script: Script, stall: float = 0.0) -> None:
    dut = Registers()

    async def bench(ctx: SimulatorContext) -> None:
        await script(ctx, dut, Host(ctx, dut, stall))

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(bench)
    sim.run()


@STALLS
def test_every_register_reads_as_written(stall: float) -> None:
    async def script(ctx: SimulatorContext, dut: Registers, host: Host) -> None:
        writable = {
            Register.INTERRUPT: 1,
            Register.PROGRAM_LOW: 0x89ABCDEF,
            Register.PROGRAM_HIGH: 0x5A,
        }
        for register, value in writable.items():
            await host.write(register, value)
        ctx.set(dut.error, 0b1011)
        expected = writable | {Register.STATUS: ERROR, Register.ERROR: 0b1011}
        for register, _ in REGISTERS:
            assert await host.read(register) == expected.get(register, 0), register.name
        assert await host.read(0xFC) == 0
        assert ctx.get(dut.program) == 0x5A89ABCDEF
        for value in (0, 0x12345678):
            await host.write(Register.PROGRAM_LOW, value)
            assert await host.read(Register.PROGRAM_LOW) == value
            assert await host.read(Register.PROGRAM_HIGH) == 0x5A

    run(script, stall)


@STALLS
def test_read_only_registers_stay(stall: float) -> None:
    async def script(ctx: SimulatorContext, dut: Registers, host: Host) -> None:
        writable = (Register.CONTROL, Register.INTERRUPT)
        for register, _ in REGISTERS:
            if register not in writable and not register.name.startswith("PROGRAM"):
                await host.write(register, 0xFFFFFFFF)
                assert await host.read(register) == 0, register.name

    run(script, stall)


@STALLS
@pytest.mark.parametrize("enabled", [0, 1], ids=["quiet", "interrupt"])
def test_runs_are_counted(enabled: int, stall: float) -> None:
    """Two runs: start's pulse, running, done, interrupt, counters from zero each time."""

    async def script(ctx: SimulatorContext, dut: Registers, host: Host) -> None:
        rng = np.random.default_rng(7)
        await host.write(Register.INTERRUPT, enabled)
        for cycles in (1, 37):
            await host.write(Register.CONTROL, START)
            assert await host.read(Register.STATUS) == 0
            assert ctx.get(dut.interrupt) == 0
            busy = rng.integers(0, 2, (cycles, len(UNITS)))
            for cycle in range(cycles):
                ctx.set(dut.running, 1)
                ctx.set(dut.unit_busy, int(busy[cycle] @ (1 << np.arange(len(UNITS)))))
                ctx.set(dut.finish, cycle == cycles - 1)
                await ctx.tick()
            ctx.set(dut.running, 0)
            ctx.set(dut.finish, 0)
            assert ctx.get(dut.interrupt) == enabled
            assert await host.read(Register.STATUS) == DONE
            assert await host.read(Register.CYCLES_LOW) == cycles
            assert await host.read(Register.CYCLES_HIGH) == 0
            for i, unit in enumerate(UNITS):
                assert await host.read(Register[f"BUSY_{unit.name}"]) == busy[:, i].sum()
            await host.write(Register.CONTROL, 0)
            assert await host.read(Register.STATUS) == DONE
            await host.write(Register.CONTROL, CLEAR)
            assert await host.read(Register.STATUS) == 0
            assert ctx.get(dut.interrupt) == 0

    run(script, stall)


def control(
    writes: dict[int, int], running: range, finish: int, cycles: int
) -> dict[str, list[int]]:
    """Write CONTROL in given cycles; return start, done and the answers, cycle by cycle."""
    out: dict[str, list[int]] = {"start": [], "interrupt": []}

    async def script(ctx: SimulatorContext, dut: Registers, host: Host) -> None:
        await host.write(Register.INTERRUPT, 1)
        ctx.set(dut.axi.bready, 1)
        ctx.set(dut.axi.awaddr, Register.CONTROL)
        for cycle in range(cycles):
            for name in ("awvalid", "wvalid"):
                ctx.set(getattr(dut.axi, name), cycle in writes)
            ctx.set(dut.axi.wdata, writes.get(cycle, 0))
            ctx.set(dut.running, cycle in running)
            ctx.set(dut.finish, cycle == finish)
            for name, values in out.items():
                values.append(ctx.get(getattr(dut, name)))
            await ctx.tick()

    run(script)
    return out


def test_start_is_one_pulse_and_not_while_running() -> None:
    got = control({2: START, 6: START, 12: START}, range(3, 9), 8, 15)
    assert [cycle for cycle, value in enumerate(got["start"]) if value] == [2, 12]


@pytest.mark.parametrize("value", [0, START, CLEAR, START | CLEAR], ids=str)
def test_a_run_that_ends_during_a_write_is_done(value: int) -> None:
    got = control({2: START, 8: value}, range(3, 9), 8, 12)
    assert got["interrupt"] == [0] * 9 + [1] * 3


@pytest.mark.parametrize("value", [START, START | CLEAR], ids=str)
def test_start_clears_done(value: int) -> None:
    got = control({2: START, 8: value}, range(3, 6), 5, 12)
    assert got["interrupt"] == [0] * 6 + [1] * 3 + [0] * 3


def test_answers_wait_for_the_host() -> None:
    async def script(ctx: SimulatorContext, dut: Registers, host: Host) -> None:
        axi = dut.axi
        ctx.set(axi.araddr, Register.PROGRAM_LOW)
        ctx.set(axi.awaddr, Register.PROGRAM_LOW)
        ctx.set(axi.wdata, 77)
        for name in ("arvalid", "awvalid"):
            ctx.set(getattr(axi, name), 1)
        assert (ctx.get(axi.awready), ctx.get(axi.wready)) == (0, 0)  # no data yet
        ctx.set(axi.wvalid, 1)
        for cycle in range(6):
            # one read and one write are taken, then no more without an answer
            assert (
                ctx.get(axi.arready) == ctx.get(axi.awready) == ctx.get(axi.wready) == (cycle == 0)
            )
            assert ctx.get(axi.rvalid) == ctx.get(axi.bvalid) == (cycle > 0)
            await ctx.tick()
            ctx.set(axi.wdata, 78)
        assert ctx.get(axi.rdata) == 0  # read in the cycle of the write
        assert ctx.get(dut.program) == 77

    run(script)
