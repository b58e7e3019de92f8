"""Runs LOAD and STORE commands on the RTL and the standard memory, many programs per process."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from moesaic.hw.emit import to_verilog
from moesaic.hw.load import Load
from moesaic.hw.queue_ports import length_bits
from moesaic.hw.store import Store
from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.commands import Command, encode
from moesaic.sim.build import build
from moesaic.sim.run import run_cocotb

SOURCES = Path(__file__).parent
FILES = ("axi_memory.sv", "axi_checker.sv", "memory.cpp", "dma_bench.sv")
TOP = "dma_bench"
Offers = Sequence[tuple[int, Command]]
"""Commands, each with the cycle before which it is not offered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """Commands for both units, and the memory on which they run.

    Loads and stores run at the same time and should not touch the same bytes. `base` is the
    address of the image's first byte.
    """

    loads: Offers = ()
    stores: Offers = ()
    image: NDArray[np.uint8]
    memory: MemorySpec
    stall: float = 0.0
    seed: int = 1
    base: int = 0
    limit: int = 1_000_000


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What happened: cycles by command, beats in the order of their writes, memory at the end."""

    accepts: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    dones: tuple[list[int], list[int]] = field(default_factory=lambda: ([], []))
    writes: list[tuple[int, int, bytes]] = field(default_factory=list)
    load_error: int = 0
    store_error: int = 0
    violations: int = 0
    hang: bool = False
    read_bytes: int = 0
    write_bytes: int = 0
    memory: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))


def buffer_beat(buffer: int, line: int, bus_bytes: int) -> bytes:
    """Return the beat that the bench's buffers hold at a line."""
    mask = 0xFFFFFFFF
    out = b""
    for word in range(bus_bytes // 4):
        x = (line * 0x9E3779B1) & mask
        x ^= (buffer * 0x85EBCA6B) & mask
        x ^= ((word + 1) * 0xC2B2AE35) & mask
        x ^= x >> 15
        x = (x * 0x2C1B3C6D) & mask
        out += (x ^ (x >> 12)).to_bytes(4, "little")
    return out


def run_dma(spec: AccelSpec, programs: Sequence[Program], run_dir: Path) -> list[Outcome]:
    """Run programs one after another, each from reset, and return what happened in each.

    Parameters
    ----------
    spec : AccelSpec
        Of the two units. The memory's timing is each program's own.
    programs : sequence of Program
        What to run.
    run_dir : Path
        Where files may be written.
    """
    sources = {
        "load.sv": to_verilog(Load(spec), name="load"),
        "store.sv": to_verilog(Store(spec), name="store"),
    }
    sources |= {name: (SOURCES / name).read_text() for name in FILES}
    defines = {
        "BUS_BYTES": spec.bus_bytes,
        "OUTSTANDING": spec.outstanding,
        "BURST_BEATS": spec.burst_beats,
        "LENGTH_BITS": spec.tokens_per_beat * length_bits(spec),
    }
    program = build(sources, top=TOP, defines=defines)
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "programs.txt").write_text(
        "\n".join(_program_text(p, i, run_dir) for i, p in enumerate(programs)) + "\n"
    )
    run_cocotb(
        program,
        top=TOP,
        test_module="moesaic.sim.cocotb_wait",
        run_dir=run_dir,
        plusargs=("+programs=programs.txt", "+log=log.txt"),
        timeout=300,
    )
    outcomes = _read_log((run_dir / "log.txt").read_text())
    for number, outcome in enumerate(outcomes):
        outcome.memory = np.fromfile(run_dir / f"dump{number}.bin", dtype=np.uint8)
    return outcomes


def _program_text(program: Program, number: int, run_dir: Path) -> str:
    image = f"image{number}.bin"
    program.image.tofile(run_dir / image)
    rate, latency = program.memory.rate, program.memory.latency
    head = (latency, latency, rate.numerator, rate.denominator, program.stall, program.seed)
    sizes = (program.limit, len(program.loads), len(program.stores))
    lines = [" ".join(map(str, (*head, program.base, image, f"dump{number}.bin", *sizes)))]
    for not_before, command in (*program.loads, *program.stores):
        lines.append(f"{not_before} {int.from_bytes(encode(command), 'little'):0128x}")
    return "\n".join(lines)


def _read_log(text: str) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for line in text.splitlines():
        kind, *words = line.split()
        if kind == "P":
            outcomes.append(Outcome())
            continue
        now = outcomes[-1]
        if kind == "W":
            now.writes.append((int(words[0]), int(words[1]), bytes.fromhex(words[2])[::-1]))
        elif kind == "A":
            now.accepts[int(words[0])].append(int(words[1]))
        elif kind == "D":
            now.dones[int(words[0])].append(int(words[1]))
        else:
            values = [int(word) for word in words]
            now.load_error, now.store_error, now.violations = values[:3]
            now.hang, now.read_bytes, now.write_bytes = bool(values[3]), values[4], values[5]
    return outcomes
