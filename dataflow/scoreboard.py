"""Who must wait for whom: hazards between commands, from the words that they read and write."""

from dataclasses import dataclass, field

from moesaic.models.commands import UNITS, Unit

WINDOW = 1 << 14  # waits further back than this are certain to be over

Span = tuple[str, int, int]  # scratchpad, first word, end
QUEUES: Span = ("QUEUES", 0, 1)  # the queues of all experts


@dataclass(frozen=True, slots=True)
class _Access:
    start: int
    stop: int
    unit: Unit
    count: int
    writes: bool


@dataclass(slots=True)
class Scoreboard:
    """Track accesses in program order and turn hazards into waits.

    Read after write waits for the writer, also within a unit, since its results land later than it
    takes its next command. Write after read and write after write wait for other units only: a unit
    reads and writes in order. `ports` keeps units apart that share one port of a scratchpad.
    """

    counts: dict[Unit, int] = field(default_factory=lambda: dict.fromkeys(UNITS, 0))
    accesses: dict[str, list[_Access]] = field(default_factory=dict)
    ports: dict[str, dict[Unit, int]] = field(default_factory=dict)

    def add(
        self,
        unit: Unit,
        *,
        reads: tuple[Span, ...] = (),
        writes: tuple[Span, ...] = (),
        ports: tuple[str, ...] = (),
    ) -> dict[str, int]:
        """Enter a command; return its wait fields."""
        waits = dict.fromkeys(UNITS, 0)
        for name, start, stop in reads:
            for access in self.accesses.get(name, ()):
                if access.writes and access.start < stop and start < access.stop:
                    waits[access.unit] = max(waits[access.unit], access.count)
        for name, start, stop in writes:
            for access in self.accesses.get(name, ()):
                if access.unit != unit and access.start < stop and start < access.stop:
                    waits[access.unit] = max(waits[access.unit], access.count)
        for port in ports:
            for other, count in self.ports.get(port, {}).items():
                if other != unit:
                    waits[other] = max(waits[other], count)

        self.counts[unit] += 1
        count = self.counts[unit]
        for name, start, stop in writes:
            kept = [
                a for a in self.accesses.get(name, ()) if not (start <= a.start and a.stop <= stop)
            ]
            kept.append(_Access(start, stop, unit, count, writes=True))
            self.accesses[name] = kept
        for name, start, stop in reads:
            kept = [
                a
                for a in self.accesses.get(name, ())
                if a.writes or a.unit != unit or not (start <= a.start and a.stop <= stop)
            ]
            kept.append(_Access(start, stop, unit, count, writes=False))
            self.accesses[name] = kept
        for port in ports:
            self.ports.setdefault(port, {})[unit] = count
        return self.fields(waits)

    def fields(self, waits: dict[Unit, int]) -> dict[str, int]:
        """Return waits as command fields, modulo 2**16 and never further back than WINDOW."""
        out = {}
        for unit in UNITS:
            value = max(waits[unit], self.counts[unit] - WINDOW, 0)
            out[f"wait_{unit.name.lower()}"] = value % (1 << 16)
        return out
