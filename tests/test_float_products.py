"""Sequencers and array for training in Verilator: bits of whole products, and every cycle.

Products are compared with models.float_dot, operands of convolutions with plain numpy, and cycles
with models.training.product_cycles.
"""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.hw.cell import Cells
from moesaic.hw.command_layout import command_layout
from moesaic.hw.training.float_array import FloatArray
from moesaic.hw.training.stationary import Stationary
from moesaic.hw.training.stream import Stream
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Command, Unit
from moesaic.models.float_arithmetic import to_words
from moesaic.models.float_timing import ACCUMULATE_GAP
from moesaic.models.numbers import FEWEST
from moesaic.models.training.commands import TRAINING_FIELDS
from moesaic.models.training.product_timing import result_latency
from moesaic.sim.cycle_bench import Source, Trace, VerilatorBench, pack
from tests.product_cases import Contents, Product, kinds, packed, random_product, timeline

PRODUCTS = 28
LAYOUTS = {
    "load": command_layout(Unit.STATIONARY, TRAINING_FIELDS),
    "stream": command_layout(Unit.STREAM, TRAINING_FIELDS),
}
WRITES = {"x": "stream_data", "weight": "weight_data", "index": "index_data"}
SHARED: dict[str, Any] = {
    "columns": 8,
    "lanes": 8,
    "data_bits": 16,
    "psum_depth": 64,
    "act_words": 4096,
    "weight_lines": 2048,
    "index_lines": 1024,
}
SPECS = [
    AccelSpec(
        rows=8,
        numbers="fp16",
        sparsity=tuple(map(NM.parse, ("2:4", "1:4", "2:8", "1:8"))),
        **SHARED,
    ),
    AccelSpec(rows=16, numbers="bf16", sparsity=(NM.parse("2:4"),), **SHARED),
]


def name(spec: AccelSpec) -> str:
    return f"{spec.rows}x{spec.columns}-{spec.numbers}"


class Products(wiring.Component):
    """Sequencers, array, and scratchpads that are filled beforehand, a word of each in a cycle."""

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.array = FloatArray(spec)
        self.cells: Cells = self.array.cells
        out = self.array.signature.members
        super().__init__(
            {
                **{unit: In(stream.Signature(layout)) for unit, layout in LAYOUTS.items()},
                "fill": In(1),
                "fill_word": In(16),
                **{f"fill_{part}": In(out[data].shape) for part, data in WRITES.items()},
                "take": Out(1),
                "loaded": Out(1),
                **{
                    member: Out(out[member].shape)
                    for member in ("write_valid", "write_word", "write_data", "done")
                },
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        m.submodules.array = array = self.array
        m.submodules.stationary = loader = Stationary(spec)
        m.submodules.streams = beats = Stream(spec)
        connect(m, flipped(self.load), loader.command)
        connect(m, flipped(self.stream), beats.command)
        m.d.comb += [
            beats.full.eq(loader.full),
            loader.take.eq(beats.take),
            array.beat.eq(beats.beat),
            array.line.eq(loader.line),
            self.take.eq(beats.take),
            self.loaded.eq(loader.done),
            self.write_valid.eq(array.write_valid),
            self.write_word.eq(array.write_word),
            self.write_data.eq(array.write_data),
            self.done.eq(array.done),
        ]
        reads = {
            "x": [(beats.beat.word, array.stream_data), (loader.word, array.stationary_data)],
            "weight": [(loader.weight_line, array.weight_data)],
            "index": [(loader.index_line, array.index_data)],
        }
        depths = {"x": spec.act_words, "weight": spec.weight_lines, "index": spec.index_lines}
        for part, ports in reads.items():
            fill = getattr(self, f"fill_{part}")
            memory = Memory(shape=fill.shape(), depth=depths[part], init=[])
            m.submodules[part] = memory
            write = memory.write_port()
            m.d.comb += [
                write.en.eq(self.fill & (self.fill_word < depths[part])),
                write.addr.eq(self.fill_word),
                write.data.eq(fill),
            ]
            for address, data in ports:
                read = memory.read_port()
                late = Signal.like(read.data)
                m.d.sync += late.eq(read.data)
                m.d.comb += [read.addr.eq(address), data.eq(late)]
        return m


@cache
def bench(spec: AccelSpec) -> VerilatorBench:
    dut = Products(spec)
    return VerilatorBench(dut, cells=dut.cells, sources=list(LAYOUTS))


def run(
    spec: AccelSpec, contents: Contents, pairs: list[tuple[Command, Command]], gap: int, where: Path
) -> Trace:
    """Run commands and compare all cycles with the closed form."""
    fill = contents.fill()
    start = len(fill["fill"]) + 2
    offered = {
        unit: (start + np.cumsum(contents.rng.integers(1, gap + 1, len(pairs)))).tolist()
        for unit in LAYOUTS
    }
    times = timeline(spec, pairs, offered)
    cycles = times.done[-1] + 4
    sources = {}
    for (unit, layout), commands in zip(LAYOUTS.items(), zip(*pairs, strict=True), strict=True):
        offers = [0] * cycles
        for cycle in times.offers[unit]:
            offers[cycle] = 1
        sources[unit] = Source(payloads=[pack(layout, c) for c in commands], offers=offers)
    trace = bench(spec).run(fill, cycles=cycles, run_dir=where, sources=sources)
    assert trace.accepted == times.taken
    for signal, wanted in (("loaded", times.loaded), ("done", times.done)):
        assert np.flatnonzero(trace[signal]).tolist() == wanted
    return trace


def writes(
    spec: AccelSpec, products: list[Product], takes: list[int]
) -> dict[int, tuple[int, int]]:
    """Return word and data of each result by its cycle: so long after its beat."""
    out, tiles = {}, iter(takes)
    for product in products:
        words = to_words(product.results)
        for _, c in product.pairs:
            for n in range(c["n_tiles"]):
                for k in range(c["k_tiles"]):
                    first = next(tiles) + result_latency(spec)
                    if not c["last"] or k < c["k_tiles"] - 1:
                        continue
                    for row, place in enumerate(product.words[n].tolist()):
                        values = words[row, n * spec.columns : (n + 1) * spec.columns]
                        out[first + row] = place, packed(values, 32)
    assert next(tiles, None) is None
    return out


@pytest.mark.parametrize("gap", [1, 150], ids=["back-to-back", "gaps"])
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_products(spec: AccelSpec, gap: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(gap)
    contents = Contents(spec, rng)
    drawn = [random_product(contents, *kind) for kind, _ in zip(kinds(spec), range(PRODUCTS))]  # noqa: B905
    products = [drawn[i] for i in rng.permutation(PRODUCTS)]
    pairs = [pair for product in products for pair in product.pairs]
    trace = run(spec, contents, pairs, gap, tmp_path)
    takes = np.flatnonzero(trace["take"]).tolist()
    wanted = writes(spec, products, takes)
    assert np.flatnonzero(trace["write_valid"]).tolist() == sorted(wanted)
    for cycle, result in wanted.items():
        assert (trace["write_word"][cycle], trace["write_data"][cycle]) == result, f"cycle {cycle}"


def test_partial_sums_are_back_before_the_next_tile() -> None:
    assert min(spec.columns for spec in SPECS) == FEWEST
    assert FEWEST + 1 >= ACCUMULATE_GAP
