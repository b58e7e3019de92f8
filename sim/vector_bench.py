"""Run the vector unit beside models of its scratchpads, and record all that it writes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from amaranth.sim import Simulator, SimulatorContext
from numpy.typing import NDArray

from moesaic.hw.vector import Vector
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.pipeline import RAM_READ
from moesaic.models.vector_timing import WRITE_AT

Ints = NDArray[np.int64]

BUFFERS = (Buffer.SCORE, Buffer.RESIDUAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorMemory:
    """Scratchpads that the vector unit reads: (banks, words, values), and the norm scratchpad.

    `gain` and `offset` are (words, lanes). What is written to the residual is read back.
    """

    score: Ints
    residual: Ints
    gain: Ints
    offset: Ints


@dataclass(slots=True, kw_only=True)
class VectorLog:
    """What one command did; cycles count from its handshake, which was `waited` after the last.

    `writes` are (buffer, bank, word, sub, narrow values, wide values), `statistics` are (bank, row,
    multiplier, shift), `routes` are (bank, row, expert, score), each with its cycle in front.
    `route_starts` are cycles.
    """

    accepted: int
    waited: int
    done: list[int] = field(default_factory=list)
    reads: list[int] = field(default_factory=list)
    writes: list[tuple[Any, ...]] = field(default_factory=list)
    statistics: list[tuple[int, ...]] = field(default_factory=list)
    routes: list[tuple[int, ...]] = field(default_factory=list)
    route_starts: list[int] = field(default_factory=list)


def run_vector(
    spec: AccelSpec,
    memory: VectorMemory,
    commands: Sequence[Mapping[str, int]],
    gaps: Sequence[int],
    *,
    limit: int = 20000,
) -> list[VectorLog]:
    """Execute `commands`; each is offered `gaps` cycles after the one before was accepted.

    Raises
    ------
    TimeoutError
        If they take more than `limit` cycles.
    """
    dut = Vector(spec)
    logs: list[VectorLog] = []
    container = f"<i{spec.wide_bytes}"
    values = f"<i{spec.data_bytes}"

    def word(bank: int, buffer: int, place: int) -> int:
        pad = memory.residual if buffer else memory.score
        return int.from_bytes(pad[bank, place].astype(container).tobytes(), "little")

    def entries(place: int) -> int:
        entry = (memory.gain[place] & 0xFFFF) | (memory.offset[place] & 0xFFFFFFFF) << 16
        return int.from_bytes(entry.astype("<u8").tobytes(), "little")

    def split(bits: int, kind: str) -> Ints:
        size = spec.lanes * np.dtype(kind).itemsize
        return np.frombuffer(bits.to_bytes(size, "little"), dtype=kind).astype(np.int64)

    def record(ctx: SimulatorContext, cycle: int) -> None:
        log = logs[-1]
        now = cycle - log.accepted
        if ctx.get(dut.read.en):
            log.reads.append(now)
        if ctx.get(dut.write.valid):
            place = tuple(
                ctx.get(getattr(dut.write, name)) for name in ("buffer", "bank", "word", "sub")
            )
            wide = split(ctx.get(dut.write.wide), container)
            narrow = split(ctx.get(dut.write.narrow), values)
            log.writes.append((now, *place, narrow, wide))
            buffer, bank, line, sub = place
            if buffer == Buffer.RESIDUAL:
                memory.residual[bank, line, sub * spec.lanes :][: spec.lanes] = wide
        if ctx.get(dut.rowstat.valid):
            names = ("bank", "row", "multiplier", "shift")
            log.statistics.append((now, *(ctx.get(getattr(dut.rowstat, name)) for name in names)))
        if spec.experts and ctx.get(dut.route.valid):
            names = ("bank", "row", "expert", "score")
            log.routes.append((now, *(ctx.get(getattr(dut.route, name)) for name in names)))
        if spec.experts and ctx.get(dut.route_start):
            log.route_starts.append(now)
        if ctx.get(dut.done):
            log.done.append(now)

    async def drive(ctx: SimulatorContext) -> None:
        data, norm = [0] * (RAM_READ + 1), [0] * (RAM_READ + 1)
        offered, wait = 0, gaps[0]
        quiet = 0
        for cycle in range(limit):
            if quiet > 2 * WRITE_AT:
                return
            if offered < len(commands) and cycle >= wait:
                ctx.set(dut.command.payload, commands[offered])
                ctx.set(dut.command.valid, 1)
            read = dut.read
            data.append(
                word(ctx.get(read.bank), ctx.get(read.buffer), ctx.get(read.word))
                if ctx.get(read.en)
                else 0
            )
            norm.append(entries(ctx.get(dut.norm_read.word)) if ctx.get(dut.norm_read.en) else 0)
            ctx.set(dut.read_data, data[-1 - RAM_READ])
            ctx.set(dut.norm_data, norm[-1 - RAM_READ])
            if logs:
                record(ctx, cycle)
            handshake = ctx.get(dut.command.valid) and ctx.get(dut.command.ready)
            if handshake:
                logs.append(
                    VectorLog(accepted=cycle, waited=cycle - (logs[-1].accepted if logs else 0))
                )
                offered += 1
                wait = cycle + (gaps[offered] if offered < len(commands) else 0)
            await ctx.tick()
            if handshake:
                ctx.set(dut.command.valid, 0)
            idle = offered == len(commands) and not ctx.get(dut.busy)
            quiet = quiet + 1 if idle else 0
        raise TimeoutError(f"{len(logs)} of {len(commands)} commands began in {limit} cycles")

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(drive)
    sim.run()
    return logs
