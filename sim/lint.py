"""Verilator's lint on emitted Verilog."""

import re
import subprocess
from pathlib import Path

from moesaic.sim.toolchain import find_toolchain

WAIVERS = {
    "DECLFILENAME": "one file holds all modules of a design",
    "PROCASSINIT": "a register's value at power-up stands in its declaration, as FPGAs load it",
    "SYMRSVDWORD": "`interrupt` is the port's conventional name; only C++ minds",
    "UNUSEDSIGNAL": "commands, beats and addresses have the width of the largest machine",
    "VARHIDDEN": "a memory bears the name of the part that it is",
    "WIDTHTRUNC": "Yosys writes `!x` for `x == 0` and cuts the result of a shift",
    "WIDTHEXPAND": "Yosys writes operands at their own width; Verilog extends them as it means to",
}
"""Warnings that remain by construction, each with its reason."""

UNUSED_TEMPORARY = re.compile(r"%Warning-UNUSEDSIGNAL: .*: '_\d+_'")
"""Yosys's own wires: a carry that is cut off, an output that a design leaves open."""


def verilog_lint(path: Path, *, top: str | None = None) -> list[str]:
    """Return what ``verilator -Wall`` finds in a file beyond the waivers, one line each.

    Parameters
    ----------
    path : Path
        A Verilog or SystemVerilog file.
    top : str, optional
        The top module; needed where several modules are placed nowhere.
    """
    tools = find_toolchain()
    command = [str(tools.verilator), "--lint-only", "-Wall", "--timing"]
    command += [f"-Wno-{waiver}" for waiver in WAIVERS]
    command += ["--top-module", top] if top else []
    run = subprocess.run(
        [*command, path.name],
        cwd=path.parent,
        env=tools.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in run.stderr.splitlines() if line.startswith("%")]
    waived = re.compile(rf"{UNUSED_TEMPORARY.pattern}|%Error: Exiting due to")
    return [line for line in lines if not waived.match(line)]
