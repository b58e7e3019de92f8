"""Drive a component of fixed latency as Verilog in Verilator: a million inputs in seconds."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from amaranth.hdl import Shape
from amaranth.lib.wiring import Component
from numpy.typing import NDArray

from moesaic.hw.emit import to_verilog
from moesaic.sim.build import build
from moesaic.sim.run import run_cocotb

Ints = NDArray[np.int64]

TOP = "pipeline_bench"
BENCH = """
module {top};
  bit clk = 0;
  bit rst = 0;
  bit finished /* verilator public_flat_rw */ = 0;
  always #5 clk = ~clk;
  reg [{inputs}-1:0] stimulus = 0;
  wire [{outputs}-1:0] response;
  dut dut (.clk(clk), .rst(rst), {ports});
  int from, to, fields;
  int cycle = 0, length, latency;
  initial begin
    from = $fopen("inputs", "r");
    to = $fopen("outputs", "w");
    fields = $fscanf(from, "%d %d", length, latency);
  end
  always @(negedge clk) begin
    if (cycle < length) fields = $fscanf(from, "%h", stimulus);
    cycle = cycle + 1;
  end
  always @(posedge clk) begin
    if (cycle > latency) $fwrite(to, "%h\\n", response);
    if (cycle == length + latency) begin
      $fclose(to);
      finished = 1;
    end
  end
endmodule
"""
SECONDS = 1800


def run_pipeline_rtl(
    dut: Component,
    inputs: Mapping[str, Sequence[int] | Ints],
    *,
    outputs: Sequence[str],
    latency: int | None = None,
) -> tuple[Ints, ...]:
    """Do what :func:`moesaic.sim.pipeline_bench.run_pipeline` does, on the component's Verilog.

    Every member that is an input is among `inputs`, as integers; wide ones are Python's.

    Returns
    -------
    tuple of Ints
        Unsigned; those of more than 63 bits are Python's integers.
    """
    wait = dut.LATENCY if latency is None else latency
    widths = {path[0]: Shape.cast(member.shape).width for path, member, _ in _members(dut)}
    stimulus = np.zeros(len(next(iter(inputs.values()))), dtype=object)
    ports, low = [], 0
    for name, values in inputs.items():
        mask = (1 << widths[name]) - 1
        column = np.array([int(value) & mask for value in values], dtype=object)
        stimulus |= column << low
        ports.append(f".{name}(stimulus[{low}+:{widths[name]}])")
        low += widths[name]
    total, high = low, 0
    for name in outputs:
        ports.append(f".{name}(response[{high}+:{widths[name]}])")
        high += widths[name]

    verilog = to_verilog(dut, name="dut")
    if not re.search(r"^module dut\(.*\bclk\b", verilog, re.MULTILINE):
        raise ValueError("the component has no register, so it is no pipeline")
    bench = BENCH.format(top=TOP, inputs=total, outputs=high, ports=", ".join(ports))
    program = build({"dut.sv": verilog, f"{TOP}.sv": bench}, top=TOP)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        lines = [f"{len(stimulus)} {wait}", *(f"{word:x}" for word in stimulus), ""]
        (folder / "inputs").write_text("\n".join(lines))
        run_cocotb(
            program, top=TOP, test_module="moesaic.sim.cocotb_wait", run_dir=folder, timeout=SECONDS
        )
        words = [int(word, 16) for word in (folder / "outputs").read_text().split()]
    if len(words) != len(stimulus):
        raise RuntimeError(f"{len(words)} results for {len(stimulus)} inputs")
    return tuple(_split(words, widths, outputs))


def _members(dut: Component) -> list[tuple[tuple[str, ...], Any, Any]]:
    return list(dut.signature.flatten(dut))


def _split(words: list[int], widths: Mapping[str, int], outputs: Sequence[str]) -> list[Ints]:
    results, low = [], 0
    for name in outputs:
        mask = (1 << widths[name]) - 1
        column = [word >> low & mask for word in words]
        results.append(np.array(column, dtype=np.int64 if widths[name] < 64 else object))
        low += widths[name]
    return results
