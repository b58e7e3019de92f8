"""Compiles C++ of :mod:`moesaic.hls_templates` with g++ and runs its testbench."""

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moesaic.hls_templates.render import VECTORS
from moesaic.sim.build import BuildError
from moesaic.sim.toolchain import ToolError

FLAGS = ("-std=c++14", "-O1", "-Wall", "-Werror", "-Wno-unknown-pragmas")
PROGRAM = "testbench"
EVERYTHING = "everything.cc"
LIMIT = 600  # seconds of one call


class CompileError(BuildError):
    """g++ refused what was rendered; the message is the beginning of what it said."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a testbench said, line by line, and whether every case was equal."""

    equal: bool
    lines: tuple[str, ...]


def write_files(files: dict[str, str], folder: Path) -> None:
    """Write texts by their path in `folder`."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def compile_units(folder: Path, flags: Sequence[str] = ()) -> Path:
    """Compile all sources of a folder as one and return the program.

    ToolError where there is no g++; CompileError where it refuses a source.
    """
    if shutil.which("g++") is None:
        raise ToolError("g++ is missing: apt-get install g++")
    sources = sorted(path.name for path in folder.glob("*.cpp"))
    (folder / EVERYTHING).write_text("".join(f'#include "{name}"\n' for name in sources))
    command = ["g++", *FLAGS, *flags, "-o", PROGRAM, EVERYTHING]
    run = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    (folder / EVERYTHING).unlink()
    if run.returncode:
        raise CompileError("\n".join(["CompileError: g++ refuses", *run.stderr.splitlines()[:20]]))
    return folder / PROGRAM


def run_units(program: Path) -> Outcome:
    """Run a testbench on the vectors beside it."""
    run = subprocess.run(
        [program, program.parent / VECTORS],
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    said = (run.stdout + run.stderr).splitlines()
    return Outcome(equal=run.returncode == 0, lines=tuple(said))
