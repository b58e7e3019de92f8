"""Proves that a program has no races: what each command touches follows from its fields alone.

A command is known to be over when another begins if a chain of waits says so: a wait for the count
of its unit, or for a command that itself began after it. Units begin and finish their commands in
order, so one number per unit holds all that is known.
"""

from dataclasses import dataclass, field

import numpy as np

from moesaic.dataflow.accesses import Access, Cells, Cellular, accesses
from moesaic.dataflow.program import Note, Program
from moesaic.models.commands import (
    COMMAND_BYTES,
    COUNT_BITS,
    UNITS,
    WAITS,
    Buffer,
    Command,
    Unit,
)

REPORTED = 20  # findings of one program

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
        size = self.program.memory_bytes
        if end > size or command["address"] % self.program.spec.bus_bytes:
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
