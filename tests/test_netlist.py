"""The netlists that `synth` counts in behave like the RTL: both run side by side in Verilator."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from amaranth.lib.wiring import Component

from moesaic.hw.column import Column
from moesaic.hw.emit import to_verilog
from moesaic.hw.gelu import Gelu
from moesaic.hw.gelu_polynomial import GeluPolynomial
from moesaic.hw.lane import Lane
from moesaic.hw.requant import Requant
from moesaic.hw.vector_lane import VectorLane
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.reports.synth_modules import distinct_modules
from moesaic.reports.synth_yosys import WORKER, netlist
from moesaic.sim.toolchain import find_toolchain

CELLS = (
    "read_verilog -lib +/xilinx/cells_xtra.v",  # DSP48E2, which stays a cell
    "read_verilog -overwrite +/xilinx/cells_sim.v",
    "read_verilog -overwrite {net}",
    "hierarchy -top {top}",
    "proc",
    "flatten",
    "opt_expr",
    "opt_clean -purge",
    "write_verilog -noattr {net}",
)
"""Make LUTs, multiplexers and registers expressions, which Verilator compiles much faster."""
DSP = Path(__file__).parent / "dsp48e2.sv"
PAIR = ".OPMODE(9'h015)"  # product plus PCIN
PORT = re.compile(r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);$", re.MULTILINE)

BENCH = """
module bench;
  reg clk = 0, rst = 1;
  reg [{inputs}-1:0] stimulus;
  wire [{outputs}-1:0] rtl, net;
  int unsigned cycle = 0, differing = 0;
  rtl_{top} rtl_place (.clk(clk), .rst(rst), {rtl_ports});
  {top} net_place (.clk(clk), .rst(rst), {net_ports});
  always #1 clk = !clk;
  always @(negedge clk) begin
    for (int i = 0; i < {inputs}; i = i + 1) stimulus[i] <= $urandom[0];
    rst <= cycle < 4 || $urandom % 1000 == 0;
  end
  always @(posedge clk) begin
    cycle <= cycle + 1;
    if (cycle > 50 && rtl !== net) differing <= differing + 1;
    if (cycle == 50 + {cycles}) begin
      $display("%0d of {cycles} cycles differ", differing);
      $finish;
    end
  end
endmodule
"""


def connections(rtl: str, top: str) -> tuple[dict[str, int], dict[str, str]]:
    """Return a module's input and output bits, and how the bench connects RTL and netlist."""
    text = re.search(rf"^module {top}\(.*?^endmodule", rtl, re.MULTILINE | re.DOTALL)
    assert text
    bits = {"input": 0, "output": 0}
    places: dict[str, list[str]] = {"rtl": [], "net": []}
    for direction, high, name in PORT.findall(text[0]):
        if name in ("clk", "rst"):
            continue
        low, width = bits[direction], int(high or 0) + 1
        bits[direction] += width
        for side, ports in places.items():
            vector = "stimulus" if direction == "input" else side
            ports.append(f".{name}({vector}[{low}+:{width}])")
    header = re.match(r"module \w+\(([^)]*)\);", text[0])
    assert header
    assert len(places["rtl"]) + 2 == len(header[1].split(","))
    return bits, {side: ", ".join(ports) for side, ports in places.items()}


def side_by_side(rtl: str, mapped: str, top: str, folder: Path, *, cycles: int) -> int:
    """Simulate RTL beside its netlist with random inputs; count the cycles that differ."""
    bits, ports = connections(rtl, top)
    names = "|".join(re.findall(r"^module (\w+)\(", rtl, re.MULTILINE))
    (folder / "rtl.sv").write_text(re.sub(rf"\b({names})\b", r"rtl_\1", rtl))
    net = folder / "netlist.v"
    net.write_text(mapped)
    script = "\n".join(line.format(net=net, top=top) for line in CELLS)
    subprocess.run(
        [sys.executable, "-c", WORKER], input=script, capture_output=True, text=True, check=True
    )
    (folder / "bench.sv").write_text(
        BENCH.format(
            top=top,
            inputs=bits["input"],
            outputs=bits["output"],
            rtl_ports=ports["rtl"],
            net_ports=ports["net"],
            cycles=cycles,
        )
    )
    tools = find_toolchain()
    command: list[str | Path] = [
        tools.verilator,
        "--binary",
        "--top-module",
        "bench",
        "-Wno-lint",
        "-Wno-fatal",
    ]
    command += ["-CFLAGS", "-std=c++20 -fcoroutines", "--Mdir", folder / "build", "-j", "2", "-O3"]
    command += ["-MAKEFLAGS", "OPT_FAST=-O1 OPT_GLOBAL=-O0 OPT_SLOW=-O0"]
    files = [folder / "bench.sv", folder / "rtl.sv", net, DSP]
    build = subprocess.run(
        [*command, *files], env=tools.environment, capture_output=True, text=True, check=False
    )
    assert build.returncode == 0, "\n".join(re.findall("%Error.*|error:.*", build.stderr)[:20])
    run = subprocess.run([folder / "build" / "Vbench"], capture_output=True, text=True, check=False)
    found = re.search(rf"^(\d+) of {cycles} cycles differ$", run.stdout, re.MULTILINE)
    assert found, run.stdout + run.stderr
    return int(found[1])


def small(tokens: int, *modes: NM) -> AccelSpec:
    return AccelSpec(
        rows=8,
        columns=4,
        lanes=4,
        tokens_per_beat=tokens,
        bus_bytes=4,
        sparsity=modes,
        index_lines=8 if modes else 0,
    )


def both(component: Component, name: str) -> tuple[str, str]:
    """Return a component's RTL and its netlist."""
    rtl = to_verilog(component, name=name)
    return rtl, netlist(distinct_modules(rtl), "xcup")


def test_column_equals_its_netlist(tmp_path: Path) -> None:
    rtl, mapped = both(Column(small(2, NM(n=2, m=8))), "moesaic_column")
    assert mapped.count(PAIR) == 4  # eight products; each two are added on the cascade
    assert "MUXF7" in mapped
    assert side_by_side(rtl, mapped, "moesaic_column", tmp_path, cycles=5_000) == 0


@pytest.mark.nightly
def test_column_of_zcu102_equals_its_netlist(tmp_path: Path) -> None:
    rtl, mapped = both(Column(load_accel("zcu102")), "moesaic_column")
    assert mapped.count(PAIR) == 32
    assert side_by_side(rtl, mapped, "moesaic_column", tmp_path, cycles=5_000) == 0


@pytest.mark.parametrize("bits", [32, pytest.param(40, marks=pytest.mark.nightly)])
def test_requant_equals_its_netlist(bits: int, tmp_path: Path) -> None:
    rtl, mapped = both(Requant(acc_bits=bits, out_bits=16), "requant")
    assert side_by_side(rtl, mapped, "requant", tmp_path, cycles=20_000) == 0


@pytest.mark.nightly
@pytest.mark.parametrize(
    "component",
    [
        Gelu(wide_bits=16),
        GeluPolynomial(wide_bits=16),
        VectorLane(load_accel("zcu102")),
        Lane(small(2)),
    ],
    ids=["gelu", "gelu_polynomial", "vector_lane", "lane"],
)
def test_units_equal_their_netlists(component: Component, tmp_path: Path) -> None:
    rtl, mapped = both(component, "unit")
    assert side_by_side(rtl, mapped, "unit", tmp_path, cycles=20_000) == 0


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (PAIR, ".OPMODE(9'h005)"),  # without the cascade
        pytest.param(".PREG(1'h1)", ".PREG(32'd0)", marks=pytest.mark.nightly),
    ],
)
def test_a_wrong_netlist_differs(right: str, wrong: str, tmp_path: Path) -> None:
    rtl, mapped = both(Column(small(2)), "moesaic_column")
    assert right in mapped
    planted = mapped.replace(right, wrong, 1)
    assert side_by_side(rtl, planted, "moesaic_column", tmp_path, cycles=500) > 0
