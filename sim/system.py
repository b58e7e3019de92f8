"""Runs programs on the accelerator's RTL with the standard memory: builds, feeds, reads logs."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.mapper import input_bytes, read_output
from moesaic.dataflow.program import Program
from moesaic.hw.stationary import LINE
from moesaic.hw.stream import BEAT
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import UNITS, Unit
from moesaic.models.graph import Ints
from moesaic.sim.build import Waves, build
from moesaic.sim.run import SimulationResult, run_cocotb
from moesaic.sim.verilog_cache import cached_verilog

SOURCES = Path(__file__).parent
FILES = ("system_bench.sv", "axi_memory.sv", "memory.cpp", "monitor.cpp")
TOP = "system_bench"
WAVES: dict[str, Waves] = {".vcd": "vcd", ".fst": "fst"}
FLAGS = ("-fno-dfg-scoped",)  # it names temporaries per instance, so that no code could be shared
OFTEN = 4  # instances from which on a module's code is shared
QUIET = 100_000
U32 = np.dtype("<u4")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """What one run did.

    `key_lines` and `value_lines` count what of K and V entered the array as stationary operand: a
    key for a column, a token's values for all columns; `kv_beats` the rows that met them.
    `accepted` and `done` hold, for each unit, the cycle of each of its commands. `array`, `vector`,
    `rowstat`, `route` and `load` are records of what was written, in order; `memory` is what was
    left.
    """

    cycles: int
    hang: bool
    read_bytes: int
    write_bytes: int
    key_lines: int
    value_lines: int
    kv_beats: int
    accepted: dict[Unit, NDArray[np.int64]]
    done: dict[Unit, NDArray[np.int64]]
    array: NDArray[Any]
    vector: NDArray[Any]
    rowstat: NDArray[Any]
    route: NDArray[Any]
    load: NDArray[Any]
    memory: NDArray[np.uint8]


class HangError(RuntimeError):
    """A run made no progress; the message says which unit waits for what."""


def build_system(
    spec: AccelSpec, *, waves: Waves | None = None, verilog: str | None = None
) -> Path:
    """Build the simulation of one accelerator, or take it from the cache.

    `verilog` replaces the accelerator's own, for planted faults.
    """
    sources = {name: (SOURCES / name).read_text() for name in FILES}
    sources["moesaic_top.sv"] = cached_verilog(spec) if verilog is None else verilog
    tokens, container = spec.tokens_per_beat, 8 * spec.wide_bytes
    defines = {
        "BUS_BYTES": spec.bus_bytes,
        "NARROW": tokens * spec.columns * spec.data_bits,
        "WIDE": tokens * spec.columns * container,
        "VECTOR_NARROW": spec.lanes * spec.data_bits,
        "VECTOR_WIDE": spec.lanes * container,
        "LINE_VALID": LINE["valid"].offset,
        "LINE_KV": LINE["source_kv"].offset,
        "LINE_ROW": LINE["row_mode"].offset,
        "BEAT_VALID": BEAT["valid"].offset,
        "BEAT_SCALE": BEAT["scale_source"].offset,
        **({"EXPERTS": spec.experts} if spec.experts else {}),
    }
    sources["sharing.vlt"] = sharing(sources["moesaic_top.sv"])
    return build(sources, top=TOP, flags=FLAGS, defines=defines, waves=waves)


def sharing(verilog: str) -> str:
    """Return a Verilator configuration that lets instances of one module share their code.

    Verilator replaces a module's inputs by what the instance connects to them, and then no two
    instances have the same code: 64 copies to compile. Inputs that can be seen from outside stay.
    """
    placed = Counter(re.findall(r"^  (\w+) \w+ \($", verilog, re.MULTILINE))
    lines = ["`verilator_config"]
    for module, count in sorted(placed.items()):
        if count < OFTEN:
            continue
        body = re.search(rf"^module {module}\(.*?^endmodule", verilog, re.MULTILINE | re.DOTALL)
        inputs = re.findall(
            r"^  input (?:\w+ )?(?:\[\d+:\d+\] )?(\w+);", body[0] if body else "", re.MULTILINE
        )
        lines += [
            f'public_flat_rd -module "{module}" -var "{name}"' for name in inputs if name != "clk"
        ]
    return "\n".join(lines) + "\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One run: a program, as many input matrices as its batch has images, and the stalls."""

    program: Program
    inputs: Sequence[Ints]
    stall: float = 0.0
    seed: int = 1


def simulate(
    jobs: Sequence[Job],
    run_dir: Path,
    *,
    waves_file: Path | None = None,
    verilog: str | None = None,
    limit: int = 1_000_000_000,
) -> tuple[list[RunLog], SimulationResult]:
    """Run programs of one accelerator one after another, without a reset in between.

    Parameters
    ----------
    jobs : sequence of Job
        All of the same accelerator.
    run_dir : Path
        Where images, dumps and logs are written.
    waves_file : Path, optional
        Ends in ``.vcd`` or ``.fst``.
    verilog : str, optional
        In place of the accelerator's own, for planted faults.
    limit : int
        Cycles after which a run counts as hanging.

    Raises
    ------
    HangError
        If a run made no progress for QUIET cycles.
    """
    waves = WAVES.get(waves_file.suffix) if waves_file else None
    binary = build_system(jobs[0].program.spec, waves=waves, verilog=verilog)
    run_dir.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, job in enumerate(jobs):
        program = job.program
        memory, rate = program.spec.memory, program.spec.memory.rate
        image = program.image.copy()
        for address, x in zip(program.input_addresses, job.inputs, strict=True):
            data = input_bytes(program, x)
            image[address : address + len(data)] = data
        image.tofile(run_dir / f"image{i}.bin")
        lines.append(
            f"image{i}.bin dump{i}.bin {program.program_address} {memory.latency} "
            f"{rate.numerator} {rate.denominator} {job.stall} {job.seed} {limit}"
        )
    (run_dir / "runs.txt").write_text("\n".join(lines) + "\n")
    result = run_cocotb(
        binary,
        top=TOP,
        test_module="moesaic.sim.cocotb_wait",
        run_dir=run_dir,
        plusargs=("+runs=runs.txt", "+logs=log_", f"+quiet={QUIET}"),
        waves_file=waves_file,
    )
    if hang := hang_report(result.log):
        raise HangError(hang)
    return _read_logs(jobs[0].program.spec, run_dir, len(jobs)), result


def outputs(program: Program, log: RunLog) -> list[Ints]:
    """Return the results that a run left in memory, one per image of the batch."""
    return [read_output(program, log.memory, i) for i in range(len(program.output_addresses))]


def hang_report(log: str) -> str:
    """Return what a simulation said of a hang, on one line; empty where there was none."""
    return "; ".join(" ".join(line.split()) for line in re.findall(r"HANG (.*)", log))


def read_events(
    run_dir: Path, run: int
) -> tuple[dict[Unit, NDArray[np.int64]], dict[Unit, NDArray[np.int64]]]:
    """Return for each unit the cycles in which it took its commands and was done with them."""
    kind = np.dtype([(name, U32) for name in ("run", "kind", "unit", "low", "high")])
    events = np.fromfile(run_dir / "log_events.bin", dtype=kind)
    events = events[events["run"] == run]
    cycle = events["low"].astype(np.int64) | (events["high"].astype(np.int64) << 32)
    accepted, done = (
        {unit: cycle[(events["kind"] == k) & (events["unit"] == unit)] for unit in UNITS}
        for k in (0, 1)
    )
    return accepted, done


def _read_logs(spec: AccelSpec, run_dir: Path, count: int) -> list[RunLog]:
    tokens, container = spec.tokens_per_beat, spec.wide_bytes

    def records(name: str, words: Sequence[str], *parts: tuple[str, Any, tuple[int, ...]]) -> Any:
        kind = np.dtype([("run", U32), *((word, U32) for word in words), *parts])
        return np.fromfile(run_dir / f"log_{name}.bin", dtype=kind)

    narrow, wide = f"<i{spec.data_bytes}", f"<i{container}"
    array_shape = (tokens, spec.columns)
    runs = np.fromfile(run_dir / "log_runs.bin", dtype=U32).reshape(-1, 10).astype(np.int64)
    logs = {
        "array": records(
            "array",
            ("valid", "dest", "word", "word1", "slice"),
            ("narrow", narrow, array_shape),
            ("wide", wide, array_shape),
        ),
        "vector": records(
            "vector",
            ("buffer", "bank", "word", "sub"),
            ("narrow", narrow, (spec.lanes,)),
            ("wide", wide, (spec.lanes,)),
        ),
        "rowstat": records("rowstat", ("bank", "row", "multiplier", "shift")),
        "route": records("route", ("bank", "row", "expert", "score")),
        "load": records("load", ("buffer", "line"), ("data", np.uint8, (spec.bus_bytes,))),
    }
    out = []
    for i in range(count):
        accepted, done = read_events(run_dir, i)
        row = runs[i]
        out.append(
            RunLog(
                hang=bool(row[0]),
                cycles=int(row[1] | row[2] << 32),
                read_bytes=int(row[3] | row[4] << 32),
                write_bytes=int(row[5] | row[6] << 32),
                key_lines=int(row[7]),
                value_lines=int(row[8]),
                kv_beats=int(row[9]),
                accepted=accepted,
                done=done,
                memory=np.fromfile(run_dir / f"dump{i}.bin", dtype=np.uint8),
                **{name: log[log["run"] == i] for name, log in logs.items()},
            )
        )
    return out
