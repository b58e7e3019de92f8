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
        self._all: list[tuple[int, Unit, int, bool]] = []  # end, unit, number, whether it writes
        self._longest = 0  # words of one access

    def enter(
        self, start: int, stop: int, unit: Unit, count: int, waits: list[int], *, writes: bool
    ) -> None:
        """Raise waits to those that must be over, and take the place of those that lie inside."""
        starts, known = self._starts, self._all
        low = bisect_right(starts, start - self._longest)
        for place in range(bisect_left(starts, stop, low) - 1, low - 1, -1):
            end, other, number, wrote = known[place]
            if end <= start:
                continue
            if (other != unit if writes else wrote) and number > waits[other]:
                waits[other] = number
            inside = starts[place] >= start and end <= stop
            if inside and (writes or (other == unit and not wrote)):
                del known[place], starts[place]
        place = bisect_left(starts, start, low)
        starts.insert(place, start)
        known.insert(place, (stop, unit, count, writes))
        self._longest = max(self._longest, stop - start)


@dataclass(slots=True)
class Scoreboard:
    """Track accesses in program order and turn hazards into waits.

    Read after write waits for the writer, also within a unit, since its results land later than it
    takes its next command. Write after read and write after write wait for other units only: a unit
    reads and writes in order. `ports` keeps units apart that share one port of a scratchpad.
    """

    counts: list[int] = field(default_factory=lambda: [0] * len(UNITS))  # by unit
    accesses: dict[str, _Accesses] = field(default_factory=lambda: defaultdict(_Accesses))
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
        self.counts[unit] += 1
        count = self.counts[unit]
        for name, start, stop in reads:
            self.accesses[name].enter(start, stop, unit, count, waits, writes=False)
        for name, start, stop in writes:
            self.accesses[name].enter(start, stop, unit, count, waits, writes=True)
        for port in ports:
            users = self.ports.setdefault(port, {})
            for other, number in users.items():
                if other != unit and number > waits[other]:
                    waits[other] = number
            users[unit] = count
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
