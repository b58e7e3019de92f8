"""Builds Verilator simulations for cocotb, each set of inputs once."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from cocotb_tools.runner import Verilator

from moesaic.sim.toolchain import Toolchain, ToolError, find_toolchain, has_fst

Waves = Literal["vcd", "fst"]

FLAGS = (
    "--timing",
    # Modules are shared, not copied: a systolic array builds six times as fast.
    "--inline-mult",
    "1",
    "-Wno-fatal",
    "-Wno-WIDTHEXPAND",
    "-Wno-WIDTHTRUNC",
)
OPTIMISE = ("OPT_FAST=-O2", "OPT_SLOW=-O0")  # the symbol table is large and runs once
CPP_SUFFIXES = (".cpp", ".cc", ".c")
HEADER_SUFFIXES = (".h", ".hpp")


class BuildError(RuntimeError):
    """Verilator or the compiler refused the sources; the message is the end of the log."""


def cache_directory() -> Path:
    """Return where builds are kept: ``$MOESAIC_CACHE``, else ``~/.cache/moesaic``."""
    return Path(os.environ.get("MOESAIC_CACHE") or Path.home() / ".cache" / "moesaic")


def build(
    sources: Mapping[str, str],
    *,
    top: str,
    flags: Sequence[str] = (),
    defines: Mapping[str, object] | None = None,
    waves: Waves | None = None,
) -> Path:
    """Build a simulation for cocotb, or return it from the cache.

    The top makes its own clock. Signals that a test touches are marked
    ``/* verilator public_flat_rw */`` in it; no others are visible to cocotb.

    Parameters
    ----------
    sources : mapping of str to str
        Texts by file name: Verilog, ``.vlt``, C++ for DPI, and headers.
    top : str
        The top module.
    flags : sequence of str
        More flags for Verilator.
    defines : mapping of str to object, optional
        Verilog macros.
    waves : {"vcd", "fst"}, optional
        Build with waves of this format.

    Returns
    -------
    Path
        A directory that holds the program, named as `top`, and its ``build.log``.

    Raises
    ------
    BuildError
        If the sources do not build.
    ToolError
        If a tool or, for FST, a header is missing.
    """
    if waves == "fst" and not has_fst():
        raise ToolError("FST waves need lz4.h: apt-get install liblz4-dev")
    tools = find_toolchain()
    all_flags = [*FLAGS, *([f"--trace-{waves}"] if waves else []), *flags]
    versions = [tools.version, version("cocotb"), tools.variables["MAKEFLAGS"]]
    inputs = {
        "sources": dict(sources),
        "top": top,
        "flags": [*all_flags, *OPTIMISE],
        "defines": {name: str(value) for name, value in (defines or {}).items()},
        "versions": versions,
    }
    key = hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()[:24]
    result = cache_directory() / "builds" / key
    result.parent.mkdir(parents=True, exist_ok=True)
    with _locked(result.with_suffix(".lock")):
        if not result.is_dir():
            with tempfile.TemporaryDirectory(dir=result.parent, prefix="new-") as scratch:
                folder = Path(scratch)
                runtime = _Runtime([*versions, *all_flags])
                runtime.lend(folder / "obj")
                _compile(
                    folder,
                    tools,
                    sources,
                    top=top,
                    flags=all_flags,
                    defines=defines or {},
                    waves=waves,
                )
                runtime.keep(folder / "obj")
                _keep_program(folder, top).rename(result)
    return result


class _Runner(Verilator):
    """cocotb's runner with our Verilator, without ``--public-flat-rw``: 60 times the speed."""

    tools: Toolchain
    cpp_sources: Sequence[Path] = ()
    lent: Sequence[Path] = ()

    def _simulator_in_path_build_only(self) -> None:
        self.executable = str(self.tools.verilator)

    def _set_env_build(self) -> None:
        super()._set_env_build()
        self.env.update(self.tools.variables)

    def _build_command(self) -> list[list[str]]:
        verilate, make = super()._build_command()
        verilate = [word for word in verilate if word not in ("--public-flat-rw", "--trace")]
        # The makefile that Verilator writes would make the lent objects look old.
        touch = ["touch", *map(str, self.lent)]
        steps = [[*verilate, *map(str, self.cpp_sources)], touch, [*make, *OPTIMISE]]
        return steps if self.lent else [steps[0], steps[2]]


def _compile(
    folder: Path,
    tools: Toolchain,
    sources: Mapping[str, str],
    *,
    top: str,
    flags: Sequence[str],
    defines: Mapping[str, object],
    waves: Waves | None,
) -> None:
    for name, text in sources.items():
        (folder / name).write_text(text)
    runner = _Runner()
    runner.tools = tools
    runner.cpp_sources = [folder / name for name in sources if name.endswith(CPP_SUFFIXES)]
    others = (*CPP_SUFFIXES, *HEADER_SUFFIXES)
    runner.lent = sorted((folder / "obj").glob("*.o"))
    log = folder / "build.log"
    try:
        runner.build(
            sources=[folder / name for name in sources if not name.endswith(others)],
            hdl_toplevel=top,
            build_args=[*flags, f"-I{folder}", "-CFLAGS", f"-std=c++20 -fcoroutines -I{folder}"],
            defines=defines,
            build_dir=folder / "obj",
            always=True,
            waves=waves is not None,
            timescale=("1ns", "1ps"),
            log_file=log,
        )
    except RuntimeError as error:
        lines = log.read_text(errors="replace") if log.exists() else str(error)
        tail = "\n".join(lines.replace(f"{folder}/", "").splitlines()[-30:])
        raise BuildError(f"the simulation of {top} does not build:\n{tail}") from None


class _Runtime:
    """Objects of Verilator's own library, the same for all designs built with the same flags.

    They take 20 seconds to compile and a small design takes two.
    """

    def __init__(self, inputs: Sequence[str]) -> None:
        key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:24]
        self.folder = cache_directory() / "runtime" / key

    def lend(self, objects: Path) -> None:
        """Put the objects where make looks."""
        objects.mkdir()
        if self.folder.is_dir():
            for kept in self.folder.iterdir():
                shutil.copyfile(kept, objects / kept.name)

    def keep(self, objects: Path) -> None:
        """Keep the objects of a finished build, unless another process was first."""
        if self.folder.is_dir():
            return
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(dir=self.folder.parent, prefix="new-"))
        # not verilator.o, cocotb's main: it holds the size of the design's own class
        for path in objects.glob("verilated*.o"):
            shutil.copyfile(path, scratch / path.name)
        try:
            scratch.rename(self.folder)
        except OSError:
            shutil.rmtree(scratch)


def _keep_program(folder: Path, top: str) -> Path:
    """Keep the program and the log; objects take a hundred times their space."""
    kept = folder / "kept"
    kept.mkdir()
    shutil.move(folder / "obj" / top, kept / top)
    shutil.move(folder / "build.log", kept / "build.log")
    return kept


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock file, so that two processes do not build the same thing at once."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
