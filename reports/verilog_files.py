"""The files of an accelerator for other tools: Verilog, lists, constraints, scripts, registers."""

from moesaic.hw.top import top_verilog
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import dump_accel
from moesaic.models.register_map import REGISTERS

TOP = "moesaic_top"
SYNTH = {"xc": "synth_xilinx -family xcup -noiopad", "LFE5": "synth_ecp5"}


def verilog_files(spec: AccelSpec) -> dict[str, str]:
    """Return the text of each file by its name; equal for equal parameters."""
    return {
        f"{TOP}.sv": _header(spec) + top_verilog(spec),
        "moesaic.f": f"{TOP}.sv\n",
        "accel.yaml": dump_accel(spec),
        "registers.md": _registers(spec),
        "moesaic.xdc": _constraints(spec),
        "synth.ys": _yosys(spec),
        "vivado.tcl": _vivado(spec),
    }


def _header(spec: AccelSpec) -> str:
    """Return the parameters as a comment."""
    lines = [
        f"moesaic accelerator {spec.name}; top module {TOP}",
        "",
        *dump_accel(spec).splitlines(),
    ]
    return "".join(f"// {line}".rstrip() + "\n" for line in lines) + "\n"


def _registers(spec: AccelSpec) -> str:
    rows = "".join(f"| 0x{reg:02X} | `{reg.name}` | {text} |\n" for reg, text in REGISTERS)
    return (
        f"# Registers of {spec.name}\n\n"
        "AXI4-Lite on `s_axi_control`, 32 bits each. To run a program: put it and its data in\n"
        "memory, write its address to `PROGRAM_LOW` and `PROGRAM_HIGH`, write 1 to `CONTROL`, and\n"
        "wait for bit 0 of `STATUS` or the interrupt.\n\n"
        f"| offset | name | meaning |\n|---|---|---|\n{rows}"
    )


def _constraints(spec: AccelSpec) -> str:
    period = 1e9 / spec.clock_hz
    return (
        f"# {spec.clock_hz} Hz is assumed until place and route has shown it.\n"
        f"create_clock -name clk -period {period:.3f} [get_ports clk]\n"
    )


def _yosys(spec: AccelSpec) -> str:
    part = spec.board.part
    command = next((c for start, c in SYNTH.items() if part.startswith(start)), "synth")
    return f"read_verilog -sv {TOP}.sv\n{command} -top {TOP}\nstat\n"


def _vivado(spec: AccelSpec) -> str:
    part = spec.board.part if spec.board.part.startswith("xc") else "xczu9eg-ffvb1156-2-e"
    return (
        f"read_verilog -sv {TOP}.sv\n"
        "read_xdc moesaic.xdc\n"
        f"synth_design -top {TOP} -part {part} -mode out_of_context\n"
        "report_utilization -file utilization.txt\n"
        "report_timing_summary -file timing.txt\n"
    )
