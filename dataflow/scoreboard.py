"""Who must wait for whom: hazards between commands, from the words that they read and write."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from moesaic.models.commands import COUNT_BITS, UNITS, WAITS, Unit

WINDOW = 1 << 14  # waits further back than this are certain to be over

Span = tuple[str, int, int]  # scratchpad, first word, end
QUEUES: Span = ("QUEUES", 0, 1)  # the queues of all experts

_Access = tuple[int, int, Unit, int]  # first word, end, unit, number of its command


@dataclass(slots=True)
class Scoreboard:
    """Track accesses in program order and turn hazards into waits.

    Read after write waits for the writer, also within a unit, since its results land later than it
    takes its next command. Write after read and write after write wait for other units only: a unit
    reads and writes in order. `ports` keeps units apart that share one port of a scratchpad.
    """

    counts: list[int] = field(default_factory=lambda: [0] * len(UNITS))  # by unit
    writers: dict[str, list[_Access]] = field(default_factory=dict)
    readers: dict[str, list[_Access]] = field(default_factory=dict)
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
        waits = [0] * len(UNITS)
        for name, start, stop in reads:
            for first, end, other, count in self.writers.get(name, ()):
                if first < stop and start < end and count > waits[other]:
                    waits[other] = count
        for name, start, stop in writes:
            for accesses in (self.writers, self.readers):
                for first, end, other, count in accesses.get(name, ()):
                    if other != unit and first < stop and start < end and count > waits[other]:
                        waits[other] = count
        for port in ports:
            for other, count in self.ports.get(port, {}).items():
                if other != unit and count > waits[other]:
                    waits[other] = count

        self.counts[unit] += 1
        count = self.counts[unit]
        for name, start, stop in writes:
            for accesses in (self.writers, self.readers):
                accesses[name] = [a for a in accesses.get(name, ()) if a[0] < start or stop < a[1]]
            self.writers[name].append((start, stop, unit, count))
        for name, start, stop in reads:
            kept = [
                a for a in self.readers.get(name, ()) if a[2] != unit or a[0] < start or stop < a[1]
            ]
            kept.append((start, stop, unit, count))
            self.readers[name] = kept
        for port in ports:
            self.ports.setdefault(port, {})[unit] = count
        return self.fields(waits)

    def fields(self, waits: Sequence[int]) -> dict[str, int]:
        """Return waits by unit as command fields, modulo 2**16 and never further back than WINDOW.

        Window and modulo do nothing while there are few commands.
        """
        if max(self.counts) > WINDOW:
            waits = [
                max(wait, count - WINDOW, 0) % (1 << COUNT_BITS)
                for wait, count in zip(waits, self.counts, strict=True)
            ]
        return dict(zip(WAITS, waits, strict=True))
