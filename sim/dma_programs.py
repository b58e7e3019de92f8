"""Random LOAD and STORE programs, the sizes on which they run, and what they must do."""

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.commands import Command, Unit
from moesaic.sim.dma_bench import Program, buffer_beat

IMAGE_BYTES = 1 << 18
LATENCIES = (4, 5, 9, 32, 111, 400)
BASES = (0, (1 << 32) - (1 << 17), (1 << 40) - (1 << 18), 0x12_3456_7000)
BEATS = 900
SIZES = (
    (4, 1, 1),
    (4, 4, 16),
    (4, 32, 256),
    (8, 1, 16),
    (8, 4, 256),
    (8, 32, 1),
    (64, 1, 256),
    (64, 4, 1),
    (64, 32, 16),
)
"""Bytes of the bus, bursts in flight, beats of a burst: each value meets each other once."""
MOST_CYCLES_PER_PROGRAM = 40_000


def dma_spec(bus_bytes: int, outstanding: int, burst_beats: int) -> AccelSpec:
    """Return a small accelerator with this DMA."""
    return AccelSpec(
        rows=max(bus_bytes, 8),
        columns=max(8, bus_bytes // 2),  # a residual word of one token is as wide as the bus
        lanes=8,
        bus_bytes=bus_bytes,
        outstanding=outstanding,
        burst_beats=burst_beats,
        queue_depth={1: 2, 4: 4, 32: 8}[outstanding],
        experts=4,
    )


def is_skipped(command: Command) -> bool:
    """Tell whether the command is for an expert without tokens: in the bench, of even number."""
    return command.get("expert", 0) % 2 == 1


def rates(bus_bytes: int) -> tuple[float, ...]:
    """Return bytes per cycle, from far below the bus width to far above."""
    return (0.5, 1, 3.7, bus_bytes * 0.89, bus_bytes, bus_bytes + 0.1, 1000)


def random_program(
    spec: AccelSpec, unit: Unit, seed: int, *, stall: float = 0.0, base: int | None = None
) -> Program:
    """Return a program of about a thousand beats for one unit; same arguments, same program.

    Pieces are short or long, aligned to bursts or not, dense in memory, spread or overlapping;
    commands come all at once, spread or rarely. No two stored pieces overlap.
    """
    rng = np.random.default_rng([seed, int(unit)])
    bus = spec.bus_bytes
    rate = float(rng.choice(rates(bus)))
    budget = int(min(BEATS, MOST_CYCLES_PER_PROGRAM * min(rate, bus) / bus))
    spread = int(rng.choice([0, 0, 30, 400]))
    longest = int(rng.choice([1, 3, 20, 200]))
    skip = float(rng.choice([0, 0.1, 0.7])) if unit == Unit.LOAD else 0.0
    base = int(rng.choice(BASES)) if base is None else base
    offers: list[tuple[int, Command]] = []
    not_before = int(rng.integers(0, 4))
    place = 0  # first free byte, for stores
    while budget > 0:
        row_beats = int(rng.integers(1, 1 + min(longest, budget)))
        rows = int(rng.integers(1, 1 + min(6, max(1, budget // row_beats))))
        pitch = row_beats + int(rng.choice([0, 0, 1, 7, 100]))
        extent = ((rows - 1) * pitch + row_beats) * bus
        if unit == Unit.LOAD:
            start = int(rng.integers(0, IMAGE_BYTES - extent)) // bus * bus
        else:
            start = place + int(rng.integers(0, 40)) * bus
            if start + extent > IMAGE_BYTES:
                break
            place = start + extent
        offers.append(
            (
                not_before,
                {
                    "unit": int(unit),
                    "address": base + start,
                    "rows": rows,
                    "row_beats": row_beats,
                    "row_pitch": pitch * bus,
                    "buffer": int(rng.integers(0, 16)),
                    "line": int(rng.integers(0, 1 << 23)),
                    "line_pitch": int(rng.choice([row_beats, row_beats + 5, 1, 60000])),
                },
            )
        )
        if skip:
            offers[-1][1]["expert"] = int(rng.choice([0, 2, 4])) if rng.random() >= skip else 1
        not_before += int(rng.integers(0, spread + 1))
        budget -= rows * row_beats
    return Program(
        loads=offers if unit == Unit.LOAD else (),
        stores=offers if unit == Unit.STORE else (),
        image=rng.integers(0, 256, IMAGE_BYTES, dtype=np.uint8),
        memory=MemorySpec(latency=int(rng.choice(LATENCIES)), bytes_per_cycle=rate),
        stall=stall,
        seed=seed,
        base=base,
    )


def expected_writes(program: Program, bus_bytes: int) -> list[tuple[int, int, bytes]]:
    """Return buffer, line and beat of everything that the loads write, in order."""
    image = program.image.tobytes()
    out = []
    for _, c in program.loads:
        for row in range(0 if is_skipped(c) else c["rows"]):
            place = c["address"] - program.base + row * c["row_pitch"]
            for beat in range(c["row_beats"]):
                line = c["line"] + row * c["line_pitch"] + beat
                at = place + beat * bus_bytes
                out.append((c["buffer"], line, image[at : at + bus_bytes]))
    return out


def expected_memory(program: Program, bus_bytes: int) -> NDArray[np.uint8]:
    """Return the memory after all stores."""
    memory = bytearray(program.image.tobytes())
    for _, c in program.stores:
        for row in range(c["rows"]):
            place = c["address"] - program.base + row * c["row_pitch"]
            for beat in range(c["row_beats"]):
                line = c["line"] + row * c["line_pitch"] + beat
                at = place + beat * bus_bytes
                memory[at : at + bus_bytes] = buffer_beat(c["buffer"], line, bus_bytes)
    return np.frombuffer(bytes(memory), dtype=np.uint8)
