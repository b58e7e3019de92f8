"""Drive a component with one input and one output stream, with random gaps and stalls."""

import numpy as np
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator, SimulatorContext

CYCLES_PER_PAYLOAD = 200


def run_stream(
    dut: Component,
    payloads: list[int],
    *,
    stall: float,
    seed: int,
    outputs: int | None = None,
) -> list[int]:
    """Push `payloads` through ``dut.i`` and return what came out of ``dut.o``, in order.

    Parameters
    ----------
    dut : Component
        Has the streams ``i`` and ``o``.
    payloads : list of int
        What goes in.
    stall : float
        Chance of a pause, on either side, in each cycle.
    seed : int
        Seed of the pauses.
    outputs : int, optional
        How many payloads come out; as many as go in by default.

    Raises
    ------
    TimeoutError
        If the component hangs.
    """
    wanted = len(payloads) if outputs is None else outputs
    received: list[int] = []

    async def drive(ctx: SimulatorContext) -> None:
        rng = np.random.default_rng(seed)
        for payload in payloads:
            while rng.random() < stall:
                await ctx.tick()
            ctx.set(dut.i.payload, payload)
            ctx.set(dut.i.valid, 1)
            while not (await ctx.tick().sample(dut.i.ready))[-1]:
                pass
            ctx.set(dut.i.valid, 0)

    async def collect(ctx: SimulatorContext) -> None:
        rng = np.random.default_rng(seed + 1)
        # A hang must fail, not wait for a timeout.
        for _ in range(CYCLES_PER_PAYLOAD * (len(payloads) + wanted + 1)):
            if len(received) == wanted:
                return
            ready = rng.random() >= stall
            ctx.set(dut.o.ready, ready)
            *_, valid, payload = await ctx.tick().sample(dut.o.valid, dut.o.payload)
            if valid and ready:
                received.append(payload)
        raise TimeoutError(f"only {len(received)} of {wanted} payloads came out")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(drive, background=True)
    sim.add_testbench(collect)
    sim.run()
    return received
