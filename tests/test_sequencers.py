"""Stationary loader and stream sequencer side by side: hand-over of tiles, and dataflow.cycles."""

from pathlib import Path

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.dataflow.kernel import LONG_AGO, hand_over
from moesaic.hw.command_layout import command_layout
from moesaic.hw.stationary import LINE, Stationary
from moesaic.hw.stream import BEAT, Stream
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, Command, Unit
from moesaic.sim.cycle_bench import Source, VerilatorBench, pack, unpack
from moesaic.sim.sequencer_model import run_products

SPEC = AccelSpec(rows=8, columns=4, lanes=4, tokens_per_beat=2, bus_bytes=4)
PRODUCTS = 60
UNITS = {"load": Unit.STATIONARY, "stream": Unit.STREAM}


class Sequencers(wiring.Component):
    """Both sequencers with nothing but each other."""

    def __init__(self) -> None:
        super().__init__(
            {
                "load": In(stream.Signature(command_layout(Unit.STATIONARY))),
                "stream": In(stream.Signature(command_layout(Unit.STREAM))),
                "line": Out(LINE),
                "beat": Out(BEAT),
                "take": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.stationary = loader = Stationary(SPEC)
        m.submodules.streams = beats = Stream(SPEC)
        connect(m, flipped(self.load), loader.command)
        connect(m, flipped(self.stream), beats.command)
        m.d.comb += [
            beats.full.eq(loader.full),
            loader.take.eq(beats.take),
            self.line.eq(loader.line),
            self.beat.eq(beats.beat),
            self.take.eq(beats.take),
        ]
        return m


@pytest.fixture(scope="module")
def bench() -> VerilatorBench:
    return VerilatorBench(Sequencers(), sources=["load", "stream"])


def random_product(rng: np.random.Generator) -> tuple[Command, Command]:
    tiles = {"n_tiles": int(rng.integers(1, 5)), "k_tiles": int(rng.integers(1, 5))}
    kind = int(rng.integers(3))
    load = {
        "unit": Unit.STATIONARY,
        "source_kv": int(kind > 0),
        "row_mode": int(kind > 1),
        "base": int(rng.integers(100)),
        "pitch": 1,
        "position": 0,
        "k_valid": int(rng.integers(1, 40)),
        **tiles,
    }
    product = {
        "unit": Unit.STREAM,
        "source": Buffer.ACT,
        "beats": int(rng.choice([1, 2, 4, 5, 6, 8, 9, 10, 30])),
        "base": int(rng.integers(100)),
        "pitch": int(rng.integers(1, 5)),
        "dest": Buffer.SCORE,
        "dest_base": 0,
        "dest_pitch": 1,
        **tiles,
    }
    return load, product


@pytest.mark.parametrize("gap", [1, 40, 300], ids=["back-to-back", "gaps", "rare"])
def test_hand_over(bench: VerilatorBench, gap: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(gap)
    loads, streams = zip(*(random_product(rng) for _ in range(PRODUCTS)), strict=True)
    offered = {name: np.cumsum(rng.integers(1, gap + 1, PRODUCTS)).tolist() for name in UNITS}
    loader, beats = run_products(
        SPEC, loads, streams, load_offers=offered["load"], stream_offers=offered["stream"]
    )
    taken = {"load": loader.taken, "stream": beats.taken}
    starts = {
        name: [max(o, t + 1) for o, t in zip(offered[name], [-1, *taken[name]], strict=False)]
        for name in UNITS
    }
    cycles = beats.ends[-1] + 4
    sources = {
        name: Source(
            payloads=[pack(command_layout(unit), c) for c in commands],
            offers=[int(cycle in set(starts[name])) for cycle in range(cycles)],
        )
        for (name, unit), commands in zip(UNITS.items(), (loads, streams), strict=True)
    }
    trace = bench.run({}, cycles=cycles, run_dir=tmp_path, sources=sources)
    assert trace.accepted == taken
    assert [cycle for cycle, take in enumerate(trace["take"]) if take] == beats.tile_starts
    for cycle in range(cycles):
        line, beat = unpack(LINE, trace["line"][cycle]), unpack(BEAT, trace["beat"][cycle])
        assert line["valid"] == (cycle in loader.steps), f"cycle {cycle}"
        assert beat["valid"] == (cycle in beats.steps), f"cycle {cycle}"
        if cycle in loader.steps:
            wanted = loader.steps[cycle]
            known = {key: wanted[key] for key in wanted if key in line}
            assert {key: line[key] for key in known} == known, f"cycle {cycle}"
        if cycle in beats.steps:
            assert beat == beats.steps[cycle] | {"valid": 1}, f"cycle {cycle}"

    # The cycle model has each product in closed form.
    taken_tile = loader_end = stream_end = LONG_AGO
    for i, (load, product) in enumerate(zip(loads, streams, strict=True)):
        accepts = (max(starts["load"][i], loader_end), max(starts["stream"][i], stream_end))
        assert accepts == (loader.taken[i], beats.taken[i])
        lines = SPEC.rows if load.get("row_mode") else SPEC.columns
        tiles = product["n_tiles"] * product["k_tiles"]
        taken_tile, loader_end, stream_end = hand_over(
            taken_tile, *accepts, lines, product["beats"], tiles
        )
        assert (loader_end, stream_end) == (loader.ends[i], beats.ends[i])
