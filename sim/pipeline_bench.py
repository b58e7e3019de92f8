"""Drive a component of fixed latency: one value per input and cycle, no handshakes."""

from collections.abc import Mapping, Sequence

import numpy as np
from amaranth.lib.wiring import Component
from amaranth.sim import Simulator, SimulatorContext
from numpy.typing import NDArray

Ints = NDArray[np.int64]


def run_pipeline(
    dut: Component,
    inputs: Mapping[str, Sequence[int] | Ints],
    *,
    outputs: Sequence[str],
    latency: int | None = None,
) -> tuple[Ints, ...]:
    """Feed `inputs`, given by member name, in consecutive cycles.

    Returns
    -------
    tuple of Ints
        Each of `outputs` in the cycles `latency` (``dut.LATENCY``) after each input.
    """
    columns = [(getattr(dut, name), np.asarray(value).tolist()) for name, value in inputs.items()]
    length = len(columns[0][1])
    wait = dut.LATENCY if latency is None else latency
    collected: list[tuple[int, ...]] = []

    async def drive(ctx: SimulatorContext) -> None:
        for cycle in range(length + wait):
            if cycle < length:
                for signal, values in columns:
                    ctx.set(signal, values[cycle])
            if cycle >= wait:
                collected.append(tuple(ctx.get(getattr(dut, name)) for name in outputs))
            await ctx.tick()

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(drive)
    sim.run()
    return tuple(np.array(column, dtype=np.int64) for column in zip(*collected, strict=True))
