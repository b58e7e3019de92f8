"""Synthesis by Yosys, module by module; every result is kept."""

import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

from moesaic.reports.synth_modules import Module
from moesaic.sim.build import cache_directory

MUXF7 = """
(* techmap_celltype = "$_MUX8_" *)
module eight_to_one (input A, B, C, D, E, F, G, H, S, T, U, output Y);
  wire low = T ? (S ? D : C) : (S ? B : A);
  wire high = T ? (S ? H : G) : (S ? F : E);
  MUXF7 join (.I0(low), .I1(high), .S(U), .O(Y));
endmodule
"""
"""Two LUTs and the multiplexer between them; Yosys itself would take three LUTs."""

XILINX = "synth_xilinx -family xcup -top {top} -noiopad -noclkbuf"
SCRIPTS = {
    "xcup": (
        f"{XILINX} -run begin:coarse",
        # Yosys packs registers and adders into DSP blocks for the 7 series alone. All that a
        # DSP48E1 has a DSP48E2 has too, under the same names but for this parameter.
        "chtype -set DSP48E1 t:DSP48E2",
        "xilinx_dsp -family xc7",
        "chtype -set DSP48E2 t:DSP48E1",
        "setparam -unset USE_DPORT t:DSP48E2",
        f"{XILINX} -run coarse:fine",
        "{wide}",
        f"{XILINX} -run fine:",
    ),
    "ecp5": ("synth_ecp5 -noflatten -noiopad -top {top}",),
}
WIDE = (
    "simplemap {module}/t:$mux",
    "muxcover -mux8=600 -dmux=0 -nodecode -nopartial {module}",
    "techmap -map {maps} {module}",
    "techmap {module}/t:$_MUX8_",
)
WIDE_MODULES = ("moesaic_column",)
"""Modules of eight-to-one multiplexers with shared selects; shifters get larger by WIDE."""

ALL = "all_of_these"
"""A top that places each module of a batch, so that none is thrown away."""

WORKER = (
    "from pyosys import libyosys as y; import sys\n"
    "design = y.Design()\n"
    "for line in sys.stdin: y.run_pass(line.strip(), design)\n"
)


class SynthesisError(RuntimeError):
    """Yosys refused a module; the message is the end of its log."""


def synthesise_modules(
    batch: Sequence[Module], modules: Mapping[str, Module], target: str
) -> tuple[dict[str, dict[str, int]], float]:
    """Return each module's cells by type, without its submodules', and the seconds for all.

    Parameters
    ----------
    batch : sequence of Module
        Synthesised by one run of Yosys, whose start takes longer than a small module; nothing is
        optimised across them.
    modules : mapping of str to Module
        All modules by name; those placed by a module of the batch but not in it are black boxes.
    target : str

    Raises
    ------
    SynthesisError
        If Yosys fails.
    """
    keys = [(module.name, module.key) for module in batch]
    inputs = [keys, SCRIPTS[target], WIDE, WIDE_MODULES, MUXF7, version("pyosys")]
    key = hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:24]
    kept = cache_directory() / "synthesis" / f"{key}.json"
    if not kept.exists():
        cells, seconds = synthesise_batch(batch, modules, target)
        keep(kept, {"cells": cells, "seconds": seconds})
    found = json.loads(kept.read_text())
    return found["cells"], found["seconds"]


def keep(path: Path, data: object) -> None:
    """Write a file of the cache whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", delete=False) as file:
        json.dump(data, file)
    Path(file.name).rename(path)


def netlist(modules: Mapping[str, Module], target: str) -> str:
    """Return the netlist that the cells are counted in, as Verilog.

    Parameters
    ----------
    modules : mapping of str to Module
        All are synthesised, in one run of Yosys.
    target : str

    Raises
    ------
    SynthesisError
        If Yosys fails.
    """
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "netlist.v")
        _yosys(modules, modules, target, [f"delete {ALL}", f"write_verilog -noattr {out}"], folder)
        return out.read_text()


def synthesise_batch(
    batch: Sequence[Module], modules: Mapping[str, Module], target: str
) -> tuple[dict[str, dict[str, int]], float]:
    """Do what :func:`synthesise_modules` does, whatever is kept."""
    start = time.perf_counter()
    texts = {module.name: module for module in batch}
    with tempfile.TemporaryDirectory() as folder:
        counts = Path(folder, "cells")
        _yosys(texts, modules, target, [f"tee -q -o {counts} stat -json"], folder)
        found = json.loads(counts.read_text())["modules"]
    cells = {}
    for name in texts:
        by_type = found[f"\\{name}"].get("num_cells_by_type", {})
        cells[name] = {cell: int(n) for cell, n in by_type.items() if cell not in modules}
    return cells, time.perf_counter() - start


def _yosys(
    batch: Mapping[str, Module],
    modules: Mapping[str, Module],
    target: str,
    last: Sequence[str],
    folder: str,
) -> None:
    """Synthesise a batch in `folder`, then run the `last` commands."""
    boxes = {child for module in batch.values() for child in module.children} - set(batch)
    wide = [line for name in WIDE_MODULES if name in batch for line in WIDE]
    places = "".join(f"  (* keep *) {name} place{i} ();\n" for i, name in enumerate(batch))
    texts = [modules[name].text for name in [*boxes, *batch]]
    design, maps = Path(folder, "design.sv"), Path(folder, "maps.v")
    design.write_text("\n".join([*texts, f"module {ALL}();\n{places}endmodule\n"]))
    maps.write_text(MUXF7)
    lines = [f"read_verilog -sv {design}", *(f"blackbox {box}" for box in sorted(boxes))]
    for step in SCRIPTS[target]:
        lines += [step.format(top=ALL)] if step != "{wide}" else []
        lines += [
            line.format(module=WIDE_MODULES[0], maps=maps) for line in wide if step == "{wide}"
        ]
    run = subprocess.run(
        [sys.executable, "-c", WORKER],
        input="\n".join([*lines, *last]),
        capture_output=True,
        text=True,
        check=False,
    )
    if run.returncode:
        tail = "\n".join((run.stdout + run.stderr).strip().splitlines()[-5:])
        raise SynthesisError(f"Yosys failed:\n{tail.replace(folder, '')}")
