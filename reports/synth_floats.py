"""LUT, registers and DSP blocks of the floating-point units on UltraScale+, counted by Yosys.

``python -m moesaic.reports.synth_floats`` prints the table of ``docs/numerics.md``.
"""

import json
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from amaranth.lib.wiring import Component

from moesaic.hw.emit import to_verilog
from moesaic.hw.float_accumulate import FloatAccumulate
from moesaic.hw.float_add import FloatAdd
from moesaic.hw.float_convert import FloatConvert, FloatExtend
from moesaic.hw.float_exp import FloatExp
from moesaic.hw.float_inverse import FloatInverse
from moesaic.hw.float_log import FloatLog
from moesaic.hw.float_maximum import FloatMaximum
from moesaic.hw.float_multiply import FloatMultiply
from moesaic.hw.float_operand import FloatUnpack
from moesaic.hw.float_product import FloatProduct
from moesaic.hw.nm_select import NMSelect
from moesaic.models.accel import NM
from moesaic.models.float_format import BF16, FP16, FP32
from moesaic.reports.synth_cells import amounts
from moesaic.reports.synth_modules import Module, distinct_modules, placements
from moesaic.reports.synth_yosys import WORKER, netlist

TARGET = "xcup"
MODES = tuple(NM.parse(text) for text in ("2:4", "1:4", "2:8", "1:8", "2:16", "4:16"))
UNITS: dict[str, Component] = {
    "`FloatUnpack` fp16": FloatUnpack(FP16),
    "`FloatUnpack` bf16": FloatUnpack(BF16),
    "`FloatProduct` fp16": FloatProduct(FP16),
    "`FloatProduct` bf16": FloatProduct(BF16),
    "`FloatMultiply` fp16": FloatMultiply(FP16),
    "`FloatMultiply` bf16": FloatMultiply(BF16),
    "`FloatMultiply` fp32": FloatMultiply(FP32),
    "`FloatAdd`": FloatAdd(),
    "`FloatAccumulate`, 512 sums": FloatAccumulate(depth=512),
    "`FloatConvert` to fp16": FloatConvert(FP16),
    "`FloatConvert` to bf16": FloatConvert(BF16),
    "`FloatExtend` fp16": FloatExtend(FP16),
    "`FloatMaximum`": FloatMaximum(),
    "`FloatInverse` reciprocal": FloatInverse("reciprocal"),
    "`FloatInverse` reciprocal root": FloatInverse("reciprocal_root"),
    "`FloatInverse` square root": FloatInverse("square_root"),
    "`FloatExp`": FloatExp(),
    "`FloatLog`": FloatLog(),
    "`NMSelect` fp32, 2:8": NMSelect(FP32, MODES[2:3]),
    "`NMSelect` fp32, up to 8": NMSelect(FP32, MODES[:4]),
    "`NMSelect` fp32, all six": NMSelect(FP32, MODES),
    "`NMSelect` fp16, all six": NMSelect(FP16, MODES),
}
COLUMNS = ("dsp", "bram36", "lut", "ff")
ENDS = ("FDRE", "FDSE", "FDCE", "FDPE", "DSP48E2", "RAMB18E2", "RAMB36E2", "SRL16E", "SRLC32E")
"""Cells at which a path ends."""


def unit_modules() -> tuple[dict[str, Module], dict[str, str]]:
    """Return all distinct modules, and each unit's top by the unit's name."""
    texts, tops = [], {}
    for i, (name, unit) in enumerate(UNITS.items()):
        tops[name] = f"unit{i}"
        texts.append(to_verilog(unit, name=tops[name]))
    return distinct_modules("\n".join(texts)), tops


def measure(modules: Mapping[str, Module]) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    """Return each module's cells by type, and the cells on its longest path."""
    with tempfile.TemporaryDirectory() as folder:
        text, counts = Path(folder, "netlist.v"), Path(folder, "cells")
        text.write_text(netlist(modules, TARGET))
        lines = [
            "read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v",
            f"read_verilog -overwrite {text}",
            f"tee -q -o {counts} stat -json",
            *(f"delete */t:{cell}" for cell in ENDS),
            *(f"delete */t:{name}" for name in modules),
            "ltp",
        ]
        run = subprocess.run(
            [sys.executable, "-c", WORKER],
            input="\n".join(lines),
            capture_output=True,
            text=True,
            check=True,
        )
        found = json.loads(counts.read_text())["modules"]
    cells = {
        name: {
            cell: int(number)
            for cell, number in found[f"\\{name}"].get("num_cells_by_type", {}).items()
            if cell not in modules
        }
        for name in modules
    }
    paths = re.findall(r"Longest topological path in (\w+) \(length=(\d+)\)", run.stdout)
    return cells, {name: int(length) for name, length in paths}


def main() -> int:
    """Print the table."""
    modules, tops = unit_modules()
    cells, paths = measure(modules)
    print("| unit | cycles | DSP48E2 | BRAM36 | LUT | FF | levels |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, unit in UNITS.items():
        total: Counter[str] = Counter()
        below = placements(modules, tops[name])
        for part, places in below.items():
            for resource, amount in amounts(cells[part], TARGET).items():
                total[resource] += places * amount  # type: ignore[assignment]
        figures = " | ".join(f"{total[column]:g}" for column in COLUMNS)
        longest = max(paths.get(part, 0) for part in below)
        print(f"| {name} | {unit.LATENCY} | {figures} | {longest} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
