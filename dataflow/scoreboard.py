"""Who must wait for whom: hazards between commands, from the words that they read and write."""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from moesaic.models.commands import COUNT_BITS, UNITS, WAITS, Unit

WINDOW = 1 << 14  # waits further back than this are certain to be over

Span = tuple[str, int, int]  # scratchpad, first word, end
QUEUES: Span = ("QUEUES", 0, 1)  # the queues of all experts


class _Accesses:
    """Accesses to one scratchpad, by their first word, so that only neighbours are looked at."""

    __slots__ = ("_all", "_longest", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._all: list[tuple[int, Unit, int]] = []  # end, unit, number of its command
        self._longest = 0  # words of one access

    def wait(self, waits: list[int], start: int, stop: int, but: int = -1) -> None:
        """Raise `waits` to the commands that touch one of the words, except those of one unit."""
        low = bisect_right(self._starts, start - self._longest)
        for end, unit, count in self._all[low : bisect_left(self._starts, stop, low)]:
            if end > start and unit != but and count > waits[unit]:
                waits[unit] = count

    def drop(self, start: int, stop: int, only: Unit | None = None) -> None:
        """Forget accesses, of one unit or of all, whose words all lie there."""
        low = bisect_left(self._starts, start)
        for place in range(bisect_left(self._starts, stop, low) - 1, low - 1, -1):
            end, unit, _ = self._all[place]
            if end <= stop and only in (None, unit):
                del self._all[place], self._starts[place]

    def enter(self, start: int, stop: int, unit: Unit, count: int) -> None:
        """Remember an access."""
        place = bisect_left(self._starts, start)
        self._starts.insert(place, start)
        self._all.insert(place, (stop, unit, count))
        self._longest = max(self._longest, stop - start)


@dataclass(slots=True)
class Scoreboard:
    """Track accesses in program order and turn hazards into waits.

    Read after write waits for the writer, also within a unit, since its results land later than it
    takes its next command. Write after read and write after write wait for other units only: a unit
    reads and writes in order. `ports` keeps units apart that share one port of a scratchpad.
    """

    counts: list[int] = field(default_factory=lambda: [0] * len(UNITS))  # by unit
    writers: dict[str, _Accesses] = field(default_factory=lambda: defaultdict(_Accesses))
    readers: dict[str, _Accesses] = field(default_factory=lambda: defaultdict(_Accesses))
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
            self.writers[name].wait(waits, start, stop)
        for name, start, stop in writes:
            self.writers[name].wait(waits, start, stop, unit)
            self.readers[name].wait(waits, start, stop, unit)
        for port in ports:
            for other, count in self.ports.get(port, {}).items():
                if other != unit and count > waits[other]:
                    waits[other] = count

        self.counts[unit] += 1
        count = self.counts[unit]
        for name, start, stop in writes:
            self.readers[name].drop(start, stop)
            self.writers[name].drop(start, stop)
            self.writers[name].enter(start, stop, unit, count)
        for name, start, stop in reads:
            self.readers[name].drop(start, stop, unit)
            self.readers[name].enter(start, stop, unit, count)
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
