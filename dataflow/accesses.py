"""What a command touches: the words of each scratchpad that follow from its fields alone."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import (
    Buffer,
    Command,
    Epilogue,
    ScaleSource,
    Unit,
    VectorOp,
)
from moesaic.models.geometry import TOKENS, geometry, narrow_word

Cells = NDArray[np.int64]
Touch = tuple[str, Cells]  # scratchpad; cells, each the smallest part that is written alone

ROWSTAT, QUEUES = "ROWSTAT", "QUEUES"


@dataclass(slots=True, kw_only=True)
class Access:
    """What one command touches.

    `needed` are reads of which every cell must have been written; of `reads`, some cells may lie
    beyond a tensor's values, where the other operand is zero or nobody looks. `ports` are shared
    between units.
    """

    reads: list[Touch] = field(default_factory=list)
    needed: list[Touch] = field(default_factory=list)
    writes: list[Touch] = field(default_factory=list)
    ports: list[str] = field(default_factory=list)


class Cellular:
    """Cells of all scratchpads, numbered word by word, in a word bank by bank.

    A cell holds as many values as the least of rows, columns, lanes and a bus beat; scratchpads
    that hold no tokens have a cell for each word.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.words: dict[str, int] = {ROWSTAT: spec.rowstat_rows, QUEUES: 1}
        self.cells: dict[str, int] = {ROWSTAT: spec.tokens_per_beat, QUEUES: 1}  # of a word
        self.values: dict[Buffer, int] = {}  # of a cell
        for buffer in Buffer:
            self.words[buffer.name] = geometry(spec, buffer).depth
            self.cells[buffer.name] = 1
        for buffer in TOKENS:
            size = spec.wide_bytes if buffer in (Buffer.SCORE, Buffer.RESIDUAL) else spec.data_bytes
            beat = max(1, spec.bus_bytes // size)
            self.values[buffer] = min(spec.rows, spec.columns, spec.lanes, beat)
            word = narrow_word(spec, buffer)
            self.cells[buffer.name] = spec.tokens_per_beat * word // self.values[buffer]

    def lines(self, buffer: Buffer, first: int, stop: int) -> Touch:
        """Return whole words."""
        return buffer.name, np.arange(first, stop)

    def tokens(
        self, buffer: Buffer, base: int, pitch: int, tokens: range, first: int, stop: int
    ) -> Touch:
        """Return values ``first..stop-1`` of tokens; token 0 begins at word `base`."""
        banks, word, size = (
            self.spec.tokens_per_beat,
            narrow_word(self.spec, buffer),
            self.values[buffer],
        )
        value = np.arange(first // size * size, stop, size)
        token = np.asarray(tokens)[:, None]
        line = base + token // banks * pitch + value // word
        cells = (line * banks + token % banks) * (word // size) + value % word // size
        return buffer.name, cells.ravel()

    def beats(self, c: Command) -> Touch:
        """Return what a LOAD or STORE touches, counted in bus beats."""
        buffer = Buffer(c["buffer"])
        shape = geometry(self.spec, buffer)
        rows = np.arange(c["rows"])[:, None] * c.get("line_pitch", 0)
        beat = (c["line"] + rows + np.arange(c["row_beats"])).ravel()
        if buffer not in TOKENS:
            return buffer.name, np.unique(beat >> shape.beats_log2)
        size = self.spec.wide_bytes if buffer == Buffer.RESIDUAL else self.spec.data_bytes
        per_beat = max(1, self.spec.bus_bytes // size // self.values[buffer])
        cells = beat[:, None] * per_beat + np.arange(per_beat)
        return buffer.name, cells.ravel()

    def stats(self, base: int, tokens: range) -> Touch:
        """Return the row statistics of tokens."""
        return ROWSTAT, base * self.spec.tokens_per_beat + np.asarray(tokens)


def accesses(cells: Cellular, c: Command, product: Command | None) -> Access:
    """Return what a command touches; `product` is the STREAM command of a STATIONARY one.

    A command for an expert may touch any token's words.
    """
    out = _of_unit(cells, c, product)
    if c.get("expert"):
        out.needed.append((QUEUES, np.zeros(1, dtype=np.int64)))
    return out


def _of_unit(cells: Cellular, c: Command, product: Command | None) -> Access:
    match c["unit"]:
        case Unit.LOAD:
            ports = ["residual write"] if c["buffer"] == Buffer.RESIDUAL else []
            return Access(writes=[cells.beats(c)], ports=ports)
        case Unit.STORE:
            return Access(reads=[cells.beats(c)], ports=["residual read"])
        case Unit.STATIONARY:
            return _stationary(cells, c, product)
        case Unit.STREAM:
            return _stream(cells, c)
        case Unit.VECTOR:
            return _vector(cells, c)
    return Access()


def _stationary(cells: Cellular, c: Command, product: Command | None) -> Access:
    spec, tiles = cells.spec, c["n_tiles"] * c["k_tiles"]
    if not c.get("source_kv"):
        out = Access(
            needed=[cells.lines(Buffer.WEIGHT, c["base"], c["base"] + tiles * spec.columns)]
        )
        if c.get("mode"):
            first, lines = c["index_base"], -(-tiles * spec.columns // 2)
            out.needed.append(cells.lines(Buffer.INDEX, first, first + lines))
        if c.get("use_params"):
            per_word = max(8, spec.bus_bytes) // 8
            first, stop = c["param_base"], c["param_base"] + c["n_tiles"] * spec.columns
            span = (first // per_word, -(-stop // per_word))
            out.needed.append(cells.lines(Buffer.PARAM, *span))
        return out
    first = c["position"]
    if c.get("row_mode"):
        tokens = range(min(c["k_valid"], c["k_tiles"] * spec.rows))
        stop = first + c["n_tiles"] * spec.columns
        return Access(reads=[cells.tokens(Buffer.KV, c["base"], c["pitch"], tokens, first, stop)])
    # Scores of keys beyond the last token are never used: there are as many keys as queries.
    tokens = range(_tokens(spec, product) if product else c["n_tiles"] * spec.columns)
    stop = first + c["k_tiles"] * spec.rows
    return Access(needed=[cells.tokens(Buffer.KV, c["base"], c["pitch"], tokens, first, stop)])


def _tokens(spec: AccelSpec, stream: Command) -> int:
    return stream["beats"] * spec.tokens_per_beat - stream.get("odd", 0) * (
        spec.tokens_per_beat - 1
    )


def _stream(cells: Cellular, c: Command) -> Access:
    spec = cells.spec
    tokens = range(_tokens(spec, c))
    nm = (None, *spec.sparsity)[c.get("mode", 0)]
    first = c.get("position", 0)
    stop = first + c["k_tiles"] * spec.operands_per_beat(nm)
    source, dest = Buffer(c["source"]), Buffer(c["dest"])
    out = Access(reads=[cells.tokens(source, c["base"], c["pitch"], tokens, first, stop)])
    place = c.get("dest_position", 0)
    result = cells.tokens(
        dest,
        c["dest_base"],
        c["dest_pitch"],
        tokens,
        place,
        place + c["n_tiles"] * spec.columns,
    )
    out.writes.append(result)
    if c.get("epilogue", 0) in (Epilogue.ADD, Epilogue.WEIGH):
        out.reads.append(result)
        out.ports.append("residual read")
    if c.get("scale_source", 0) == ScaleSource.ROW:
        out.needed.append(cells.stats(c["rowstat_base"], tokens))
    if dest in (Buffer.RESIDUAL, Buffer.KV):
        out.ports.append(f"{dest.name.lower()} write")
    return out


def _vector(cells: Cellular, c: Command) -> Access:
    spec = cells.spec
    source, dest = Buffer(c["source"]), Buffer(c["dest"])
    length = c["beats"] * spec.lanes
    first, place = c.get("position", 0), c.get("dest_position", 0)
    tokens = range(c.get("token", 0), c.get("token", 0) + c["tokens"])
    if c["op"] == VectorOp.ROUTE:
        stop = first + c["valid"]
        return Access(
            needed=[cells.tokens(source, c["base"], c["pitch"], tokens, first, stop)],
            writes=[(QUEUES, np.zeros(1, dtype=np.int64))],
        )
    targets = range(c.get("dest_token", 0), c.get("dest_token", 0) + c["tokens"])
    out = Access(
        reads=[cells.tokens(source, c["base"], c["pitch"], tokens, first, first + length)],
        writes=[
            cells.tokens(dest, c["dest_base"], c["dest_pitch"], targets, place, place + length)
        ],
    )
    out.needed.append(
        cells.tokens(source, c["base"], c["pitch"], tokens, first, first + c["valid"])
    )
    if c["op"] == VectorOp.LAYERNORM:
        first = c["norm_base"]
        out.needed.append(cells.lines(Buffer.NORM, first, first + c["beats"]))
    if c["op"] == VectorOp.SOFTMAX:
        out.writes.append(cells.stats(c["rowstat_base"], targets))
    if source == Buffer.RESIDUAL:
        out.ports.append("residual read")
    if dest in (Buffer.RESIDUAL, Buffer.KV):
        out.ports.append(f"{dest.name.lower()} write")
    return out
