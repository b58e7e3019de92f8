"""Runs training programs on the training machine's RTL: builds, feeds, reads logs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.training.mapper import TrainProgram, memory_image
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit, assemble
from moesaic.models.training.commands import TRAINING_FIELDS
from moesaic.models.training.execute import Value
from moesaic.models.training.memories import Store
from moesaic.sim.build import Waves, build
from moesaic.sim.run import run_cocotb
from moesaic.sim.system import (
    FILES,
    FLAGS,
    QUIET,
    SOURCES,
    TOP,
    HangError,
    hang_report,
    read_events,
    sharing,
)
from moesaic.sim.verilog_cache import cached_verilog

U32 = np.dtype("<u4")


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLog:
    """What one step did, as :class:`moesaic.sim.system.RunLog`.

    `writes` holds, for each memory, records of what was written, in order.
    """

    cycles: int
    read_bytes: int
    write_bytes: int
    accepted: dict[Unit, NDArray[np.int64]]
    done: dict[Unit, NDArray[np.int64]]
    writes: dict[Store, NDArray[Any]]
    memory: NDArray[np.uint8]


def build_training(
    spec: AccelSpec, *, waves: Waves | None = None, verilog: str | None = None
) -> Path:
    """Build the simulation of one training machine, or take it from the cache."""
    sources = {name: (SOURCES / name).read_text() for name in FILES}
    sources["moesaic_top.sv"] = cached_verilog(spec) if verilog is None else verilog
    defines = {
        "TRAINING": 1,
        "BUS_BYTES": spec.bus_bytes,
        "LANES": spec.lanes,
        "WORD": spec.weight_word,
        "OPERANDS": spec.lanes * spec.data_bits,
        "LINE": spec.weight_word * spec.data_bits,
    }
    sources["sharing.vlt"] = sharing(sources["moesaic_top.sv"])
    return build(sources, top=TOP, flags=FLAGS, defines=defines, waves=waves)


def run_step(
    program: TrainProgram,
    given: Mapping[str, Value],
    run_dir: Path,
    *,
    stall: float = 0.0,
    seed: int = 1,
    limit: int = 1_000_000_000,
    verilog: str | None = None,
) -> StepLog:
    """Run one step; `given` are the tensors of roles INPUT and STATE.

    Raises
    ------
    HangError
        If the run made no progress for QUIET cycles.
    """
    spec = program.spec
    binary = build_training(spec, verilog=verilog)
    run_dir.mkdir(parents=True, exist_ok=True)
    image = memory_image(program, given)
    commands = assemble(program.commands, TRAINING_FIELDS)
    image[program.program_address : program.program_address + len(commands)] = commands
    image.tofile(run_dir / "image0.bin")
    memory, rate = spec.memory, spec.memory.rate
    (run_dir / "runs.txt").write_text(
        f"image0.bin dump0.bin {program.program_address} {memory.latency} "
        f"{rate.numerator} {rate.denominator} {stall} {seed} {limit}\n"
    )
    result = run_cocotb(
        binary,
        top=TOP,
        test_module="moesaic.sim.cocotb_wait",
        run_dir=run_dir,
        plusargs=("+runs=runs.txt", "+logs=log_", f"+quiet={QUIET}"),
    )
    if hang := hang_report(result.log):
        raise HangError(hang)
    return _read(spec, run_dir)


def _read(spec: AccelSpec, run_dir: Path) -> StepLog:
    floats = ("data", np.float32, (spec.lanes,))
    parts: dict[Store, tuple[str, Any, tuple[int, ...]]] = {
        Store.X: ("data", np.uint16, (spec.lanes,)),
        Store.W: ("data", np.uint16, (spec.weight_word,)),
        Store.PLACES: ("data", np.uint8, (spec.weight_word // 2,)),
        **dict.fromkeys((Store.P, Store.V, Store.S, Store.K), floats),
    }
    writes = {
        store: np.fromfile(
            run_dir / f"log_write{int(store)}.bin",
            dtype=np.dtype([("run", U32), ("slice", U32), ("enable", U32), part]),
        )
        for store, part in parts.items()
    }
    runs = np.fromfile(run_dir / "log_runs.bin", dtype=U32).reshape(-1, 10).astype(np.int64)
    accepted, done = read_events(run_dir, 0)
    row = runs[0]
    return StepLog(
        cycles=int(row[1] | row[2] << 32),
        read_bytes=int(row[3] | row[4] << 32),
        write_bytes=int(row[5] | row[6] << 32),
        accepted=accepted,
        done=done,
        writes=writes,
        memory=np.fromfile(run_dir / "dump0.bin", dtype=np.uint8),
    )
