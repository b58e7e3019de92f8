"""Runs cocotb tests on a built simulation."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

import cocotb_tools.config
import find_libpython

from moesaic.sim.toolchain import ToolError

TAIL_LINES = 40


class SimulationError(RuntimeError):
    """A test failed or the simulation died; the message is the end of its log."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationResult:
    """What a run leaves behind: names of the tests that passed, the log, wall seconds."""

    tests: tuple[str, ...]
    log: str
    seconds: float


def run_cocotb(
    build_dir: Path,
    *,
    top: str,
    test_module: str,
    run_dir: Path,
    env: Mapping[str, str] | None = None,
    plusargs: Sequence[str] = (),
    python_path: Sequence[Path] = (),
    waves_file: Path | None = None,
    timeout: float | None = None,
) -> SimulationResult:
    """Run the tests of one Python module on a simulation.

    Parameters
    ----------
    build_dir : Path
        From :func:`moesaic.sim.build.build`.
    top : str
        The top module.
    test_module : str
        Importable name of the module that holds the cocotb tests.
    run_dir : Path
        Working directory of the simulation, where its memory images are; made if missing.
    env : mapping of str to str, optional
        More environment variables.
    plusargs : sequence of str
        Such as ``+image=weights.hex``.
    python_path : sequence of Path
        Where to look for `test_module` first.
    waves_file : Path, optional
        Write waves here; needs a build with waves.
    timeout : float, optional
        Seconds after which the simulation is stopped.

    Raises
    ------
    SimulationError
        If a test failed, no test ran, or the simulation died or took too long.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    results = run_dir / "results.xml"
    results.unlink(missing_ok=True)
    command = [str(build_dir / top), *plusargs]
    if waves_file is not None:
        command += ["--trace", "--trace-file", str(waves_file.resolve())]
    start = time.perf_counter()
    try:
        run = subprocess.run(
            command,
            cwd=run_dir,
            env=_environment(top, test_module, results, python_path) | dict(env or {}),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SimulationError(f"{test_module} on {top} took over {timeout} s") from None
    passed, failed = _read_results(results)
    if run.returncode or failed or not passed:
        tail = "\n".join(run.stdout.splitlines()[-TAIL_LINES:])
        what = f"{', '.join(failed)} failed" if failed else f"exit code {run.returncode}"
        raise SimulationError(f"{test_module} on {top}: {what}\n{tail}")
    return SimulationResult(tests=passed, log=run.stdout, seconds=time.perf_counter() - start)


def _environment(
    top: str, test_module: str, results: Path, python_path: Sequence[Path]
) -> dict[str, str]:
    libpython = find_libpython.find_libpython()
    if libpython is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise ToolError(f"Python's shared library is missing: apt-get install libpython{version}")
    return os.environ | {
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": test_module,
        "COCOTB_RESULTS_FILE": str(results.resolve()),
        "COCOTB_TRUST_INERTIAL_WRITES": "1",
        "TOPLEVEL_LANG": "verilog",
        "GPI_USERS": f"{libpython};{cocotb_tools.config.pygpi_entry_point()}",
        "PYGPI_PYTHON_BIN": sys.executable,
        "PYTHONPATH": os.pathsep.join([*map(str, python_path), *sys.path]),
        # The cached program may have been linked in an environment that is gone.
        "LD_LIBRARY_PATH": str(cocotb_tools.config.libs_dir),
    }


def _read_results(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    if not path.exists():
        return (), ()
    # The file is cocotb's own.
    cases = list(ET.parse(path).getroot().iter("testcase"))  # noqa: S314
    failed = {
        case.get("name", "")
        for case in cases
        if case.find("failure") is not None or case.find("error") is not None
    }
    names = tuple(case.get("name", "") for case in cases)
    return tuple(n for n in names if n not in failed), tuple(n for n in names if n in failed)
