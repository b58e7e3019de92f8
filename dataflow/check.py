"""Proves that a program has no races: what each command touches follows from its fields alone.

A command is known to be over when another begins if a chain of waits says so: a wait for the count
of its unit, or for a command that itself began after it. Units begin and finish their commands in
order, so one number per unit holds all that is known.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.program import Note, Program
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import (
    COMMAND_BYTES,
    COUNT_BITS,
    UNITS,
    Buffer,
    Command,
    Epilogue,
    ScaleSource,
    Unit,
    VectorOp,
)
from moesaic.models.geometry import geometry, narrow_word

Cells = NDArray[np.int64]
Touch = tuple[str, Cells]  # scratchpad; cells, each the smallest part that is written alone

WAITS = {unit: f"wait_{unit.name.lower()}" for unit in UNITS}
ROWSTAT = "ROWSTAT"
TOKENS = (Buffer.INPUT, Buffer.ACT, Buffer.VEC, Buffer.KV, Buffer.SCORE, Buffer.RESIDUAL)
REPORTED = 20  # findings of one program


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
        self.words: dict[str, int] = {ROWSTAT: spec.rowstat_rows}
        self.cells: dict[str, int] = {ROWSTAT: spec.tokens_per_beat}  # of a word
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
    """Return what a command touches; `product` is the STREAM command of a STATIONARY one."""
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
    if c.get("epilogue", 0) == Epilogue.ADD:
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


Clock = dict[Unit, int]


@dataclass(slots=True)
class _Checker:
    """Walks through a program once; `known` and `began` are clocks in counts of commands."""

    program: Program
    cells: Cellular = field(init=False)
    counts: Clock = field(init=False)
    began: dict[Unit, list[Clock]] = field(init=False)  # what is over when a command begins
    notes: dict[tuple[Unit, int], Note] = field(default_factory=dict)
    writer: dict[str, tuple[Cells, Cells]] = field(default_factory=dict)  # unit, count
    reader: dict[str, Cells] = field(default_factory=dict)  # last count by unit
    ports: dict[str, Clock] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.cells = Cellular(self.program.spec)
        self.counts = dict.fromkeys(UNITS, 0)
        nothing = dict.fromkeys(UNITS, 0)
        self.began = {unit: [nothing] for unit in UNITS}
        # the command processor fetches the first block itself
        self.counts[Unit.LOAD] = 1
        self.began[Unit.LOAD].append(nothing)
        self.notes[Unit.LOAD, 1] = Note(node="first block")
        for name, words in self.cells.words.items():
            size = words * self.cells.cells[name]
            self.writer[name] = (np.full(size, -1), np.zeros(size, dtype=np.int64))
            self.reader[name] = np.zeros((len(UNITS), size), dtype=np.int64)

    def run(self) -> None:
        commands, notes = self.program.commands, self.program.notes
        for place, (command, note) in enumerate(zip(commands, notes, strict=True)):
            known = self._known(command, note)
            unit = Unit(command["unit"])
            if unit == Unit.END:
                self._end(known)
                if place + 1 < len(commands):
                    self.findings.append(f"{len(commands) - place - 1} commands follow END")
                return
            self.counts[unit] += 1
            self.began[unit].append(known)
            self.notes[unit, self.counts[unit]] = note
            self._block(place, command)
            self._memory(command)
            stream = commands[place + 1] if unit == Unit.STATIONARY else None
            if stream is not None and stream["unit"] != Unit.STREAM:
                stream = self._stream_after(place)
            self._touch(unit, known, accesses(self.cells, command, stream))
            if len(self.findings) >= REPORTED:
                return
        self.findings.append("the program has no END")

    def _stream_after(self, place: int) -> Command | None:
        """Return the product that goes with a STATIONARY command."""
        rest = self.program.commands[place + 1 :]
        return next((c for c in rest if c["unit"] == Unit.STREAM), None)

    def _known(self, command: Command, note: Note) -> Clock:
        """Return how many commands of each unit are over when this one begins."""
        unit = Unit(command["unit"])
        known = dict(self.began[unit][-1]) if unit != Unit.END else dict.fromkeys(UNITS, 0)
        for other in UNITS:
            behind = (self.counts[other] - command.get(WAITS[other], 0)) % (1 << COUNT_BITS)
            wait = self.counts[other] - behind
            if behind >= 1 << (COUNT_BITS - 1):
                wait += 1 << COUNT_BITS
            if wait > self.counts[other]:
                self.findings.append(
                    f"{unit.name} of {note.node} waits for {other.name} {wait}, "
                    f"but only {self.counts[other]} come before it"
                )
            elif wait > 0:
                self._merge(known, self._over(other, wait))
        return known

    def _over(self, unit: Unit, count: int) -> Clock:
        """Return what is over once a command is."""
        clock = dict(self.began[unit][count])
        clock[unit] = max(clock[unit], count)
        if unit == Unit.STREAM:  # its last tile was loaded
            loads = min(count, self.counts[Unit.STATIONARY])
            self._merge(clock, self.began[Unit.STATIONARY][loads])
            clock[Unit.STATIONARY] = max(clock[Unit.STATIONARY], loads)
        return clock

    @staticmethod
    def _merge(clock: Clock, other: Clock) -> None:
        for unit, count in other.items():
            clock[unit] = max(clock[unit], count)

    def _touch(self, unit: Unit, known: Clock, access: Access) -> None:
        """Compare a command's cells with those of all commands before it, and enter them."""
        for name, cells in (*access.reads, *access.needed, *access.writes):
            depth = self.cells.words[name]
            word = int(cells.max(initial=0)) // self.cells.cells[name]
            if word >= depth:
                self._say(unit, f"reaches word {word} of {name}, which has {depth}")
                return
        for name, cells in access.reads:
            size = self.cells.cells[name]
            words: Cells = self.writer[name][0].reshape(-1, size).max(axis=1)[cells // size]
            empty = words < 0
            if empty.any():
                word = int(cells[empty][0]) // size
                self._say(unit, f"reads word {word} of {name}, which nothing wrote")
        for name, cells in access.needed:
            blank = cells[self.writer[name][0][cells] < 0]
            if blank.size:
                word = int(blank[0]) // self.cells.cells[name]
                self._say(unit, f"reads word {word} of {name}, part of which nothing wrote")
        for name, cells in (*access.reads, *access.needed):
            self._written(unit, known, name, cells, own=True, what="reads")
        for name, cells in access.writes:
            self._written(unit, known, name, cells, own=False, what="writes")
            for other in UNITS:
                if other != unit:
                    last = self.reader[name][UNITS.index(other)][cells]
                    self._late(unit, known, other, last, f"writes {name} while", "reads it")
        for port in access.ports:
            for other, count in self.ports.get(port, {}).items():
                if other != unit:
                    counts = np.array([count])
                    self._late(unit, known, other, counts, f"uses the {port} port while", "does")
        self._enter(unit, access)

    def _written(
        self, unit: Unit, known: Clock, name: str, cells: Cells, *, own: bool, what: str
    ) -> None:
        """Ask for all writers of the cells to be over; `own` includes the unit's own."""
        units, counts = self.writer[name][0][cells], self.writer[name][1][cells]
        for other in UNITS:
            if own or other != unit:
                last = counts[units == UNITS.index(other)]
                self._late(unit, known, other, last, f"{what} {name} before", "wrote it")

    def _late(
        self, unit: Unit, known: Clock, other: Unit, counts: Cells, what: str, then: str
    ) -> None:
        count = int(counts.max(initial=0))
        if count > known[other]:
            node = self.notes[other, count].node
            self._say(unit, f"{what} {other.name} {count} ({node}) {then}")

    def _enter(self, unit: Unit, access: Access) -> None:
        index, count = UNITS.index(unit), self.counts[unit]
        for name, cells in (*access.reads, *access.needed):
            self.reader[name][index][cells] = count
        for name, cells in access.writes:
            self.writer[name][0][cells] = index
            self.writer[name][1][cells] = count
        for port in access.ports:
            self.ports.setdefault(port, {})[unit] = count

    def _block(self, place: int, command: Command) -> None:
        """Blocks of commands are fetched by the first command of the block before them."""
        spec = self.program.spec
        is_fetch = command["unit"] == Unit.LOAD and command["buffer"] == Buffer.COMMAND
        number, rest = divmod(place, spec.block_commands)
        if is_fetch != (rest == 0):
            what = "fetches a block" if is_fetch else "is no fetch"
            self._say(Unit(command["unit"]), f"{what}, as command {rest} of block {number}")
        if is_fetch:
            size = spec.block_commands * COMMAND_BYTES
            address = self.program.program_address + (number + 1) * size
            line = (number + 1) % 2 * (size // spec.bus_bytes)
            got = (command["address"], command["line"], command["row_beats"])
            if got != (address, line, size // spec.bus_bytes):
                self._say(Unit.LOAD, f"fetches another block than {number + 1}")

    def _memory(self, command: Command) -> None:
        """Copies stay inside the program's memory."""
        if command["unit"] not in (Unit.LOAD, Unit.STORE):
            return
        rows, beats = command["rows"], command["row_beats"]
        end = command["address"] + (rows - 1) * command.get("row_pitch", 0)
        end += beats * self.program.spec.bus_bytes
        if end > len(self.program.image) or command["address"] % self.program.spec.bus_bytes:
            size = len(self.program.image)
            self._say(Unit(command["unit"]), f"copies up to byte {end} of {size}")

    def _end(self, known: Clock) -> None:
        for unit in UNITS:
            # the fetch of a block that is never run may still be on its way: it is waited for too
            if known[unit] < self.counts[unit]:
                self.findings.append(
                    f"END does not wait for {unit.name} {self.counts[unit]} "
                    f"({self.notes[unit, self.counts[unit]].node})"
                )

    def _say(self, unit: Unit, what: str) -> None:
        count = self.counts[unit]
        self.findings.append(f"{unit.name} {count} ({self.notes[unit, count].node}) {what}")


def check_program(program: Program) -> list[str]:
    """Return what is wrong with a program, one sentence each; nothing for a sound one.

    For every two commands that touch the same cells, one of them writing, the later one must be
    known to begin after the earlier one is over: for every read after a write, and for every write
    of another unit. The same holds for units that share a port of a scratchpad. Every word that is
    read was written, addresses stay inside scratchpads and memory, waits name commands that come
    before, blocks are fetched where the command processor expects them, and END waits for all.
    """
    checker = _Checker(program)
    checker.run()
    return checker.findings
