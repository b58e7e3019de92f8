"""Both sequencers for training against plain loops: every line and beat, and the closed form.

Each place follows from tile, row and pixel by the definition of the commands' fields.
"""

from typing import Any

import numpy as np
import pytest
from amaranth.hdl import Module
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from moesaic.hw.command_layout import command_layout
from moesaic.hw.stationary import LINE
from moesaic.hw.training.stationary import Stationary
from moesaic.hw.training.stream import BEAT, Stream
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Command, Unit
from moesaic.models.training.commands import TRAINING_FIELDS, steps
from moesaic.sim.cycle_bench import Source, pack, run_cycles, unpack
from tests.product_cases import Grid, random_grid, timeline

PRODUCTS = 12
LAYOUTS = {
    "load": command_layout(Unit.STATIONARY, TRAINING_FIELDS),
    "stream": command_layout(Unit.STREAM, TRAINING_FIELDS),
}
SPEC = AccelSpec(
    rows=16,
    columns=8,
    lanes=8,
    data_bits=16,
    numbers="bf16",
    sparsity=(NM.parse("2:4"), NM.parse("1:4")),
    index_lines=128,
)
ADDRESSES = {"weight_line": 24, "index_line": 24, "word": 24}
Steps = list[dict[str, int]]


class Sequencers(wiring.Component):
    """Both sequencers with nothing but each other."""

    def __init__(self) -> None:
        super().__init__(
            {
                **{unit: In(stream.Signature(layout)) for unit, layout in LAYOUTS.items()},
                "line": Out(LINE),
                **{port: Out(width) for port, width in ADDRESSES.items()},
                "loaded": Out(1),
                "beat": Out(BEAT),
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
            *(getattr(self, port).eq(getattr(loader, port)) for port in ADDRESSES),
            self.loaded.eq(loader.done),
            self.beat.eq(beats.beat),
        ]
        return m


def place_of(grid: Grid, base: int, pitch: int, tap: tuple[int, int], row: int) -> tuple[int, int]:
    """Return the word of a row of a walk, and whether it lies outside."""
    if grid.plain:
        return (base + row * pitch) % (1 << 24), 0
    high, wide = grid.out
    image, pixel = divmod(row, high * wide)
    y, x = (place * grid.stride + d for place, d in zip(divmod(pixel, wide), tap, strict=True))
    inside = 0 <= y < grid.height and 0 <= x < grid.width
    word = base + ((image * grid.height + y) * grid.width + x) * pitch
    return word % (1 << 24), int(not inside)


def random_product(rng: np.random.Generator) -> tuple[Command, Command, Steps, Steps]:
    """Draw commands of a product; return them and their lines and beats."""
    kind = str(rng.choice(["lines", "columns", "rows"]))
    k_tiles, n_tiles = (int(rng.integers(1, 4)) for _ in range(2))
    mode = int(rng.integers(3)) if kind == "lines" else 0
    tiles = {"mode": mode, "k_tiles": k_tiles, "n_tiles": n_tiles}
    load, lines = random_load(rng, kind, tiles)

    grid, tap = random_grid(rng, most=40), (int(rng.integers(-1, 2)), int(rng.integers(-1, 2)))
    base, pitch = int(rng.integers(1 << 24)), int(rng.integers(1, 5))
    beat = SPEC.operands_per_beat((None, *SPEC.sparsity)[mode])
    position = int(rng.integers(4)) * beat
    dest, dest_pitches = int(rng.integers(1 << 24)), rng.integers(-9, 10, 3).tolist()
    high, wide = grid.out
    first, last = (int(rng.integers(2)) for _ in range(2))
    product = tiles | {
        "beats": grid.rows,
        "position": position,
        "first": first,
        "last": last,
        "dest_base": dest,
        **grid.walk(base, pitch, *tap),
        **steps(
            "dest_",
            width=wide,
            height=high,
            pitch=dest_pitches[2],
            row_pitch=dest_pitches[1],
            image_pitch=dest_pitches[0],
        ),
    }
    beats = []
    for n, k, row in np.ndindex(n_tiles, k_tiles, grid.rows):
        word, outside = place_of(grid, base, pitch, tap, row)
        ahead, value = divmod(position + k * beat, SPEC.act_word)
        pixel = (row // (high * wide), row // wide % high, row % wide)
        place = dest + n + sum(i * step for i, step in zip(pixel, dest_pitches, strict=True))
        beats.append(
            {
                "valid": 1,
                "word": (word + ahead) % (1 << 24),
                "offset": value // SPEC.rows,
                "mode": mode,
                "outside": outside,
                "swap": int(row == 0),
                "first": int(first and k == 0),
                "last": int(last and k == k_tiles - 1),
                "done": int((n, k, row) == (n_tiles - 1, k_tiles - 1, grid.rows - 1)),
                "row": row,
                "dest_word": place % (1 << 24),
            }
        )
    return load, product, lines, beats


def random_load(rng: np.random.Generator, kind: str, tiles: Command) -> tuple[Command, Steps]:
    """Draw a STATIONARY command; return it and its lines."""
    n_tiles, k_tiles, row_mode = tiles["n_tiles"], tiles["k_tiles"], kind == "rows"
    places = SPEC.rows if row_mode else SPEC.columns
    lines: Steps = []
    if kind == "lines":
        line_base, index_base = (int(rng.integers(1000)) for _ in range(2))
        load = tiles | {"line_base": line_base, "index_base": index_base}
        for number in range(n_tiles * k_tiles * places):
            half = 2 * index_base + number
            lines.append(
                {
                    "source_kv": 0,
                    "row_mode": 0,
                    "dense": int(tiles["mode"] == 0),
                    "place": number % places,
                    "weight_line": line_base + number,
                    "index_line": half // 2,
                    "index_half": half % 2,
                }
            )
        return load, lines

    rows = (k_tiles if row_mode else n_tiles) * places
    grid = random_grid(rng, most=rows)
    tap = int(rng.integers(-1, 2)), int(rng.integers(-1, 2))
    step = SPEC.columns if row_mode else SPEC.rows
    base, pitch, position = int(rng.integers(1 << 24)), 3, int(rng.integers(6)) * step
    valid = min(grid.rows, rows)
    load = tiles | {
        "source_x": 1,
        "row_mode": int(row_mode),
        "position": position,
        "valid": valid,
        **grid.walk(base, pitch, *tap),
    }
    for n, k, place in np.ndindex(n_tiles, k_tiles, places):
        row, along = (k * places + place, n) if row_mode else (n * places + place, k)
        line = {"source_kv": 1, "row_mode": int(row_mode), "dense": 1, "place": place, "zero": 1}
        if row < valid:
            word, line["zero"] = place_of(grid, base, pitch, tap, row)
            ahead, value = divmod(position + along * step, SPEC.act_word)
            line |= {"word": (word + ahead) % (1 << 24), "kv_slice": value // step}
        lines.append(line)
    return load, lines


def seen(trace: Any, name: str, layout: data.StructLayout, *ports: str) -> Steps:
    """Return the valid steps of a trace, with further signals of their cycles."""
    out = []
    for cycle, word in enumerate(trace[name]):
        step = unpack(layout, word)
        if step["valid"]:
            out.append(step | {port: trace[port][cycle] for port in ports})
    return out


@pytest.mark.parametrize("gap", [1, 100], ids=["back-to-back", "gaps"])
def test_lines_and_beats(gap: int) -> None:
    rng = np.random.default_rng(gap)
    loads, products, lines, beats = zip(
        *(random_product(rng) for _ in range(PRODUCTS)), strict=True
    )
    offered = {unit: np.cumsum(rng.integers(1, gap + 1, PRODUCTS)).tolist() for unit in LAYOUTS}
    times = timeline(SPEC, list(zip(loads, products, strict=True)), offered)
    cycles = times.done[-1] + 1
    sources = {
        unit: Source(
            payloads=[pack(layout, command) for command in commands],
            offers=[int(cycle in set(times.offers[unit])) for cycle in range(cycles)],
        )
        for (unit, layout), commands in zip(LAYOUTS.items(), (loads, products), strict=True)
    }
    trace = run_cycles(Sequencers(), {}, cycles=cycles, sources=sources)
    assert trace.accepted == times.taken
    assert np.flatnonzero(trace["loaded"]).tolist() == times.loaded
    ends = [cycle for cycle, word in enumerate(trace["beat"]) if unpack(BEAT, word)["done"]]
    assert ends == times.ends
    assert seen(trace, "beat", BEAT) == [beat for each in beats for beat in each]
    got = seen(trace, "line", LINE, *ADDRESSES)
    wanted = [line for each in lines for line in each]
    assert [{key: g[key] for key in w} for g, w in zip(got, wanted, strict=True)] == wanted
