"""Products for training: operands in X and W, walks, commands, and what is to come out."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.kernel import LONG_AGO, hand_over
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Command
from moesaic.models.float_arithmetic import Floats, Patterns, encode
from moesaic.models.float_dot import dot, sparse_dot
from moesaic.models.float_format import FORMATS
from moesaic.models.float_select import select_rows
from moesaic.models.requant import Ints
from moesaic.models.training.commands import pixel_walk, steps
from moesaic.models.training.product_timing import result_latency
from tests import float_cases


def packed(values: NDArray[Any], width: int) -> int:
    return sum(int(v) << i * width for i, v in enumerate(np.ravel(values)))


@dataclass(slots=True)
class Contents:
    """Scratchpads as they are filled: garbage where no tensor lies."""

    spec: AccelSpec
    rng: np.random.Generator
    x: Patterns = field(init=False)
    weights: Patterns = field(init=False)
    places: Ints = field(init=False)
    words: int = 0
    lines: int = 0

    def __post_init__(self) -> None:
        spec, rng = self.spec, self.rng
        shape = (spec.act_words, spec.act_word)
        self.x = rng.integers(1 << 16, size=shape).astype(np.uint16)
        lines = (spec.weight_lines, spec.rows)
        self.weights = rng.integers(1 << 16, size=lines).astype(np.uint16)
        self.places = rng.integers(16, size=lines)

    def operands(self, *shape: int) -> Patterns:
        """Draw operands; those of some tensors are extreme, or no numbers at all."""
        fmt = FORMATS[self.spec.numbers]
        if self.rng.random() < 0.2:
            wild = float_cases.numbers(self.rng, int(np.prod(shape)), fmt)
            return wild.astype(np.uint16).reshape(shape)
        return encode(self.rng.normal(size=shape).astype(np.float32), fmt)

    def place_rows(self, tensor: Patterns, *, position: int, span: int) -> tuple[int, int]:
        """Put rows (count, channels) into X; return base and pitch.

        Channels begin at value `position`; zeros behind them reach over `span` values at least, and
        to the end of the word.
        """
        count, channels = tensor.shape
        width = self.spec.act_word
        reach = -(-(position + span) // width)
        pitch = reach + int(self.rng.integers(2))
        base = self.words
        self.words += count * pitch
        for row, values in enumerate(tensor):
            flat = self.x[base + row * pitch :].reshape(-1)
            flat[position : reach * width] = 0
            flat[position : position + channels] = values
        return base, pitch

    def place_lines(self, tiles: Patterns, places: Ints) -> int:
        """Put lines (count, rows) into W, from an even line on; return the first."""
        base = self.lines + self.lines % 2
        self.lines = base + len(tiles)
        self.weights[base : self.lines] = tiles
        self.places[base : self.lines] = places
        return base

    def fill(self) -> dict[str, list[int]]:
        """Return the cycles that write all of it."""
        assert self.words <= self.spec.act_words
        assert self.lines <= self.spec.weight_lines
        count = max(self.words + 64, self.lines)
        return {
            "fill": [1] * count,
            "fill_word": list(range(count)),
            "fill_x": [packed(word, 16) for word in self.x[:count]],
            "fill_weight": [packed(line, 16) for line in self.weights[:count]],
            "fill_index": [packed(pair, 4) for pair in self.places.reshape(-1, 2 * self.spec.rows)],
        }


@dataclass(slots=True, kw_only=True)
class Grid:
    """Rows of a walk: tokens, or the pixels that taps of a convolution read."""

    images: int = 1
    height: int = 1
    width: int
    stride: int = 1
    plain: bool = False

    @property
    def out(self) -> tuple[int, int]:
        """Size of the output."""
        return -(-self.height // self.stride), -(-self.width // self.stride)

    @property
    def rows(self) -> int:
        """Rows of the walk."""
        return self.images * self.out[0] * self.out[1]

    def tap(self, tensor: Patterns, dy: int, dx: int) -> Patterns:
        """Return the operands of a tap: what numpy finds in the padded images."""
        if self.plain:
            return tensor
        images = tensor.reshape(self.images, self.height, self.width, -1)
        padded = np.pad(images, ((0, 0), (2, 2), (2, 2), (0, 0)))
        high, wide = self.out
        rows = padded[:, 2 + dy :: self.stride][:, :high]
        return rows[:, :, 2 + dx :: self.stride][:, :, :wide].reshape(self.rows, -1)

    def walk(self, base: int, pitch: int, dy: int, dx: int) -> Command:
        """Return the walk's fields for a tensor whose rows lie from `base` on."""
        if self.plain:
            return {"base": base, "pitch": pitch}
        high, wide = self.out
        return pixel_walk(
            base=base,
            width=wide,
            height=high,
            pitch=pitch,
            row_pitch=self.width * pitch,
            image_pitch=self.height * self.width * pitch,
            dx=dx,
            dy=dy,
            stride=self.stride,
            in_width=self.width,
            in_height=self.height,
        )


def random_grid(rng: np.random.Generator, *, most: int) -> Grid:
    """Draw a walk of at most `most` rows."""
    if rng.random() < 0.4:
        return Grid(width=int(rng.choice([1, 2, 7, 9, 10, 23])), plain=True)
    while True:
        images, height, width = (int(rng.integers(1, high)) for high in (4, 6, 7))
        grid = Grid(images=images, height=height, width=width, stride=int(rng.integers(1, 3)))
        if grid.rows <= most:
            return grid


@dataclass(slots=True, kw_only=True)
class Product:
    """Commands in pairs, of which the last writes results: rows of P's words by tile."""

    pairs: list[tuple[Command, Command]]
    words: Ints  # n tiles, rows
    results: Floats  # rows, outputs


def random_product(contents: Contents, kind: str, mode: int) -> Product:
    """Draw a product; `kind` is the place and direction of its stationary operand."""
    spec, rng = contents.spec, contents.rng
    nm = (None, *spec.sparsity)[mode]
    beat = spec.operands_per_beat(nm)
    parts = int(rng.choice([1, 1, 2, 3]))
    k_tiles = int(rng.integers(1, 4))
    n_tiles = int(rng.integers(1, 4)) if parts == 1 else 1
    grid, stationary_grid = (random_grid(rng, most=spec.psum_depth) for _ in range(2))
    if kind == "rows":  # of the walk are the contraction
        k_tiles = -(-stationary_grid.rows // spec.rows)
    elif kind == "columns" and parts == 1:
        n_tiles = -(-stationary_grid.rows // spec.columns)
    inner = int(rng.integers((k_tiles - 1) * beat + 1, k_tiles * beat + 1))
    if kind == "rows":
        inner = stationary_grid.rows

    pairs, sums = [], None
    tensor, placed = np.zeros(0, np.uint16), (0, 0, 0)
    for part in range(parts):
        dy, dx = (int(rng.integers(-1, 2)) for _ in range(2))
        if part == 0 or grid.plain:
            tensor = contents.operands(grid.images * grid.height * grid.width, inner)
            position = int(rng.integers(2 * spec.act_word // beat)) * beat
            placed = (
                *contents.place_rows(tensor, position=position, span=k_tiles * beat),
                position,
            )
        operands = grid.tap(tensor, dy, dx)
        tiles = {"mode": mode, "n_tiles": n_tiles, "k_tiles": k_tiles}
        if kind == "lines":
            load, sums = lines_of_w(contents, operands, nm, n_tiles, sums)
        else:
            load, sums = rows_of_x(contents, operands, kind, stationary_grid, n_tiles, sums)
        product = {
            "beats": grid.rows,
            "position": placed[2],
            "first": int(part == 0),
            "last": int(part == parts - 1),
            **grid.walk(placed[0], placed[1], dy, dx),
        }
        pairs.append((tiles | load, tiles | product))

    assert sums is not None
    dest, fields = destination(rng, grid)
    pairs[-1][1].update(fields)
    return Product(pairs=pairs, words=dest + np.arange(n_tiles)[:, np.newaxis], results=sums)


def lines_of_w(
    contents: Contents, operands: Patterns, nm: NM | None, n_tiles: int, sums: Floats | None
) -> tuple[Command, Floats]:
    """Draw a stationary operand in W; return its command's fields and the new sums."""
    spec, fmt = contents.spec, FORMATS[contents.spec.numbers]
    inner, outputs = operands.shape[1], n_tiles * spec.columns
    beat = spec.operands_per_beat(nm)
    k_tiles = -(-inner // beat)
    weight = contents.operands(inner, outputs)
    places = np.zeros((k_tiles * spec.rows, outputs), np.int64)
    if nm is None:
        total = dot(operands, weight, rows=spec.rows, fmt=fmt, start=sums)
        values = np.pad(weight, ((0, k_tiles * beat - inner), (0, 0)))
        places += contents.rng.integers(16, size=places.shape)  # that say nothing
    else:
        filled = np.pad(weight, ((0, k_tiles * beat - inner), (0, 0)))
        kept, places = select_rows(filled, nm, fmt)
        values = kept.astype(np.uint16)
        total = sparse_dot(operands, values, places, nm=nm, rows=spec.rows, fmt=fmt, start=sums)
    shape = (k_tiles, spec.rows, n_tiles, spec.columns)
    values, places = (
        part.reshape(shape).transpose(2, 0, 3, 1).reshape(-1, spec.rows)
        for part in (values, places)
    )
    base = contents.place_lines(values, places)
    return {"line_base": base, "index_base": base // 2}, total


def rows_of_x(
    contents: Contents,
    operands: Patterns,
    kind: str,
    grid: Grid,
    n_tiles: int,
    sums: Floats | None,
) -> tuple[Command, Floats]:
    """Draw a stationary operand in X, rows of a walk that go to columns or rows of the array."""
    spec, rng, row_mode = contents.spec, contents.rng, kind == "rows"
    outputs = n_tiles * spec.columns
    k_tiles = -(-operands.shape[1] // spec.rows)
    channels = operands.shape[1]
    if row_mode:
        channels = int(rng.integers(outputs - spec.columns + 1, outputs + 1))
    span = outputs if row_mode else k_tiles * spec.rows
    step = spec.columns if row_mode else spec.rows
    position = int(rng.integers(2 * spec.act_word // step)) * step
    tensor = contents.operands(grid.images * grid.height * grid.width, channels)
    base, pitch = contents.place_rows(tensor, position=position, span=span)
    dy, dx = (int(rng.integers(-1, 2)) for _ in range(2))
    rows = grid.tap(tensor, dy, dx)
    valid = len(rows) if row_mode else min(len(rows), outputs)
    factor = rows if row_mode else rows[:valid].T
    factor = np.pad(factor, ((0, 0), (0, outputs - factor.shape[1])))
    total = dot(operands, factor, rows=spec.rows, fmt=FORMATS[spec.numbers], start=sums)
    fields = {"source_x": 1, "row_mode": int(row_mode), "position": position, "valid": valid}
    return fields | grid.walk(base, pitch, dy, dx), total


def destination(rng: np.random.Generator, grid: Grid) -> tuple[Ints, Command]:
    """Draw where results go: the word of each row's first tile, and the fields that say so."""
    base, pitch = int(rng.integers(1 << 20)), int(rng.integers(5, 9))
    if grid.plain:
        words = base + np.arange(grid.rows) * pitch
        return words, {"dest_base": base, "dest_pitch": pitch}
    high, wide = grid.out
    row_pitch, image_pitch = int(rng.integers(100, 200)), int(rng.integers(1000, 2000))
    image, y, x = np.indices((grid.images, high, wide)).reshape(3, -1)
    fields = steps(
        "dest_",
        width=wide,
        height=high,
        pitch=pitch,
        row_pitch=row_pitch,
        image_pitch=image_pitch,
    )
    words = base + image * image_pitch + y * row_pitch + x * pitch
    return words, {"dest_base": base} | fields


def kinds(spec: AccelSpec) -> Iterator[tuple[str, int]]:
    """Yield kinds of stationary operands and their formats, all in turn."""
    while True:
        yield from (("lines", mode) for mode in range(1 + len(spec.sparsity)))
        yield from (("columns", 0), ("rows", 0))


@dataclass(slots=True)
class Timeline:
    """When commands are offered and taken, and what ends when."""

    offers: dict[str, list[int]] = field(default_factory=lambda: {"load": [], "stream": []})
    taken: dict[str, list[int]] = field(default_factory=lambda: {"load": [], "stream": []})
    loaded: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)


def timeline(
    spec: AccelSpec, pairs: list[tuple[Command, Command]], offered: dict[str, list[int]]
) -> Timeline:
    """Run the closed form; a command is offered once the one before was taken."""
    out = Timeline()
    tile_taken = loader_end = stream_end = LONG_AGO
    for i, (load, product) in enumerate(pairs):
        for unit, end in (("load", loader_end), ("stream", stream_end)):
            start = max([offered[unit][i], *(taken + 1 for taken in out.taken[unit][-1:])])
            out.offers[unit].append(start)
            out.taken[unit].append(max(start, end))
        tile_taken, loader_end, stream_end = hand_over(
            tile_taken,
            out.taken["load"][-1],
            out.taken["stream"][-1],
            spec.rows if load.get("row_mode") else spec.columns,
            product["beats"],
            product["n_tiles"] * product["k_tiles"],
        )
        out.loaded.append(loader_end)
        out.ends.append(stream_end)
        out.done.append(stream_end + result_latency(spec))
    return out
