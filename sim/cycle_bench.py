"""Feed a component cycle by cycle and record its outputs: Amaranth's simulator or Verilator."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amaranth.hdl import Value
from amaranth.lib import data
from amaranth.lib.wiring import Component, In
from amaranth.sim import Simulator, SimulatorContext

from moesaic.hw.cell import Cells
from moesaic.hw.emit import to_verilog
from moesaic.sim.build import build
from moesaic.sim.run import run_cocotb

TOP = "cycle_bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What goes into an input stream: payloads, and the cycles in which one may be offered."""

    payloads: Sequence[int]
    offers: Sequence[int]


@dataclass(slots=True, kw_only=True)
class Trace:
    """Outputs by name, one value for each cycle; for each source the cycles of its handshakes."""

    signals: dict[str, list[int]] = field(default_factory=dict)
    accepted: dict[str, list[int]] = field(default_factory=dict)

    def __getitem__(self, name: str) -> list[int]:
        return self.signals[name]


@dataclass(frozen=True, slots=True)
class _Port:
    name: str
    value: Value
    is_input: bool

    @property
    def width(self) -> int:
        return len(self.value)

    def read(self, bits: int) -> int:
        """Return the value that `bits` stand for."""
        signed = self.value.shape().signed and bits >> (self.width - 1)
        return bits - (1 << self.width) if signed else bits


def pack(layout: data.StructLayout, fields: Mapping[str, int]) -> int:
    """Return the bits of a structure given by field name; what is missing is zero."""
    word = 0
    for name, value in fields.items():
        part = layout[name]
        word |= (int(value) & ((1 << part.width) - 1)) << part.offset
    return word


def unpack(layout: data.StructLayout, word: int) -> dict[str, int]:
    """Return the fields of a structure."""
    return {str(name): word >> part.offset & ((1 << part.width) - 1) for name, part in iter(layout)}


def run_cycles(
    dut: Component,
    inputs: Mapping[str, Sequence[int]],
    *,
    cycles: int,
    sources: Mapping[str, Source] | None = None,
) -> Trace:
    """Run Amaranth's simulator.

    Parameters
    ----------
    dut : Component
        Its members are named as in Verilog: ``a__b`` for member ``b`` of interface ``a``.
    inputs : mapping of str to sequence of int
        A value for each cycle; zero after the last, and for inputs that are not named.
    cycles : int
        How long to run.
    sources : mapping of str to Source, optional
        Streams by name; a payload stays until it is taken.
    """
    ports = _ports(dut)
    sources = sources or {}
    driven = [(ports[name].value, [int(v) for v in values]) for name, values in inputs.items()]
    outputs = [port for port in ports.values() if not port.is_input]
    trace = Trace(
        signals={port.name: [] for port in outputs}, accepted={name: [] for name in sources}
    )

    async def drive(ctx: SimulatorContext) -> None:
        previous: list[int | None] = [0] * len(driven)
        valid, given = dict.fromkeys(sources, 0), dict.fromkeys(sources, 0)
        for cycle in range(cycles):
            for i, (value, values) in enumerate(driven):
                now = values[cycle] if cycle < len(values) else 0
                if now != previous[i]:
                    ctx.set(value, now)
                    previous[i] = now
            for name, source in sources.items():
                offers = cycle < len(source.offers) and source.offers[cycle]
                if not valid[name] and offers and given[name] < len(source.payloads):
                    ctx.set(ports[f"{name}__payload"].value, source.payloads[given[name]])
                    ctx.set(ports[f"{name}__valid"].value, 1)
                    valid[name] = 1
                    given[name] += 1
            for port in outputs:
                trace.signals[port.name].append(ctx.get(port.value))
            taken = [name for name in sources if valid[name] and trace[f"{name}__ready"][-1]]
            await ctx.tick()
            for name in taken:
                trace.accepted[name].append(cycle)
                ctx.set(ports[f"{name}__valid"].value, 0)
                valid[name] = 0

    sim = Simulator(dut)
    sim.add_clock(1e-8)
    sim.add_testbench(drive)
    sim.run()
    return trace


class VerilatorBench:
    """A component under Verilator: built once, run as often as wanted.

    Parameters
    ----------
    dut : Component
    cells : Cells
        Modules that it places as instances.
    sources : sequence of str
        Its input streams that payloads are given for.
    """

    def __init__(self, dut: Component, *, cells: Cells = (), sources: Sequence[str] = ()) -> None:  # type: ignore[assignment]
        self.sources = tuple(sources)
        self.ports = _ports(dut)
        streamed = {f"{name}__{part}" for name in sources for part in ("valid", "payload")}
        self.inputs = [p for p in self.ports.values() if p.is_input and p.name not in streamed]
        self.outputs = [p for p in self.ports.values() if not p.is_input]
        verilog = to_verilog(dut, name="dut", extra=cells)
        self.binary = build({"dut.sv": verilog, f"{TOP}.sv": self._bench()}, top=TOP)

    def run(
        self,
        inputs: Mapping[str, Sequence[int]],
        *,
        cycles: int,
        run_dir: Path,
        sources: Mapping[str, Source] | None = None,
    ) -> Trace:
        """Run; parameters as those of :func:`run_cycles`, and a directory for files."""
        sources = sources or {}
        run_dir.mkdir(parents=True, exist_ok=True)
        lines = []
        for cycle in range(cycles):
            word = bit = 0
            for port in self.inputs:
                values = inputs.get(port.name, ())
                now = int(values[cycle]) if cycle < len(values) else 0
                word |= (now & ((1 << port.width) - 1)) << bit
                bit += port.width
            for name in self.sources:
                offers = sources[name].offers if name in sources else ()
                word |= int(cycle < len(offers) and bool(offers[cycle])) << bit
                bit += 1
            lines.append(f"{word:x}")
        (run_dir / "stimulus.hex").write_text("\n".join(lines) + "\n")
        for name in self.sources:
            payloads = sources[name].payloads if name in sources else ()
            text = "".join(f"{payload:x}\n" for payload in payloads)
            (run_dir / f"{name}.hex").write_text(text)
        run_cocotb(
            self.binary,
            top=TOP,
            test_module="moesaic.sim.cocotb_wait",
            run_dir=run_dir,
            plusargs=(f"+cycles={cycles}",),
            timeout=300,
        )
        return self._read(run_dir / "record.hex")

    def _read(self, path: Path) -> Trace:
        trace = Trace(
            signals={port.name: [] for port in self.outputs},
            accepted={name: [] for name in self.sources},
        )
        for cycle, line in enumerate(path.read_text().split()):
            word = int(line, 16)
            for port in self.outputs:
                trace.signals[port.name].append(port.read(word & ((1 << port.width) - 1)))
                word >>= port.width
            for name in self.sources:
                if word & 1 and trace[f"{name}__ready"][cycle]:
                    trace.accepted[name].append(cycle)
                word >>= 1
        return trace

    def _bench(self) -> str:
        """Return the top that reads stimuli from a file and writes a record of each cycle."""
        wires, connections, bit = [], [], 0
        for port in self.inputs:
            connections.append(f".{port.name}(stimulus[{bit} +: {port.width}])")
            bit += port.width
        for port in self.outputs:
            wires.append(f"wire [{port.width - 1}:0] {port.name};")
            connections.append(f".{port.name}({port.name})")
        record = [port.name for port in self.outputs]
        opens, steps = [], []
        for name in self.sources:
            width = self.ports[f"{name}__payload"].width
            wires += [
                f"logic {name}__valid = 0;",
                f"logic [{width - 1}:0] {name}__payload = '0, {name}__next;",
                f"int {name}__file;",
            ]
            connections += [f".{name}__{part}({name}__{part})" for part in ("valid", "payload")]
            opens.append(f'{name}__file = $fopen("{name}.hex", "r");')
            steps += [
                f"if (!{name}__valid || {name}__ready) begin",
                f"  {name}__valid <= 0;",
                f'  if (next[{bit}] && $fscanf({name}__file, "%h", {name}__next) == 1) begin',
                f"    {name}__valid <= 1;",
                f"    {name}__payload <= {name}__next;",
                "  end",
                "end",
            ]
            record.append(f"{name}__valid")
            bit += 1
        return f"""module {TOP};
  bit clk = 0, rst = 1;
  bit finished /* verilator public_flat_rw */ = 0;
  always #5 clk = ~clk;
  logic [{bit - 1}:0] stimulus = '0, next;
  int cycle = 0, cycles = 0, stimuli, records;
  {_lines(wires)}
  dut dut (.clk(clk), .rst(rst), {", ".join(connections)});
  initial begin
    void'($value$plusargs("cycles=%d", cycles));
    stimuli = $fopen("stimulus.hex", "r");
    records = $fopen("record.hex", "w");
    {_lines(opens)}
  end
  always @(posedge clk) if (!finished) begin
    if (!rst) $fdisplay(records, "%h", {{{", ".join(reversed(record))}}});
    if (cycle == cycles) begin
      $fclose(records);
      finished <= 1;
    end else begin
      void'($fscanf(stimuli, "%h", next));
      stimulus <= next;
      rst <= 0;
      cycle <= cycle + 1;
      {_lines(steps)}
    end
  end
endmodule
"""


def _ports(dut: Component) -> dict[str, _Port]:
    out = {}
    for path, member, value in dut.signature.flatten(dut):
        name = "__".join(map(str, path))
        bits: Any = value.as_value() if hasattr(value, "as_value") else value
        out[name] = _Port(name, bits, member.flow == In)
    return out


def _lines(lines: Sequence[str]) -> str:
    return "\n      ".join(lines)
