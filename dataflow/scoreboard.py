"""Who must wait for whom: hazards between commands, from the words that they read and write."""

from collections.abc import MutableMapping, Sequence

import numpy as np
from numpy.typing import NDArray

from moesaic.models.commands import COUNT_BITS, WAITS, Unit

WINDOW = 1 << 14  # waits further back than this are certain to be over

Span = tuple[str, int, int]  # scratchpad, first word, end
QUEUES: Span = ("QUEUES", 0, 1)  # the queues of all experts


class Scoreboard:
    """Note accesses in program order, and turn hazards into waits at the end.

    Read after write waits for the writer, also within a unit, since its results land later than it
    takes its next command. Write after read and write after write wait for other units only: a unit
    reads and writes in order. `ports` keeps units apart that share one port of a scratchpad.

    Parameters
    ----------
    loads : int
        LOAD commands that come before the first one: blocks that the command processor fetches.
    """

    def __init__(self, *, loads: int = 0) -> None:
        self._loads = loads
        self._units: list[int] = []
        self._spans: list[int] = []  # command, scratchpad, first word, end, whether it writes
        self._ports: list[int] = []  # command, port
        self._names: dict[str, int] = {}  # of scratchpads
        self._port_names: dict[str, int] = {}

    def add(
        self,
        unit: Unit,
        *,
        reads: Sequence[Span] = (),
        writes: Sequence[Span] = (),
        ports: Sequence[str] = (),
    ) -> None:
        """Enter a command; END waits for all before it."""
        here = len(self._units)
        self._units.append(unit)
        names, spans = self._names, self._spans
        for name, start, stop in reads:
            spans += (here, names.setdefault(name, len(names)), start, stop, 0)
        for name, start, stop in writes:
            spans += (here, names.setdefault(name, len(names)), start, stop, 1)
        for port in ports:
            number = self._port_names.setdefault(port, len(self._port_names))
            self._ports += (here, number)

    def waits(self) -> NDArray[np.int64]:
        """Return all commands' wait fields, by unit: (commands, 5).

        They are counts modulo 2**16 and never further back than WINDOW, so that the modulo says
        which. Both do nothing while there are few commands.
        """
        from moesaic.dataflow.hazards import find_waits  # its import takes half a second

        waits, counts = find_waits(
            np.array(self._units, np.int64),
            np.array(self._spans, np.int64).reshape(-1, 5),
            np.array(self._ports, np.int64).reshape(-1, 2),
            max(1, len(self._names)),
            max(1, len(self._port_names)),
            self._loads,
        )
        far = counts.max(axis=1, initial=0) > WINDOW
        recent = np.maximum(waits, np.maximum(counts - WINDOW, 0)) % (1 << COUNT_BITS)
        return np.where(far[:, None], recent, waits)

    def fill(self, commands: Sequence[MutableMapping[str, int]]) -> None:
        """Write the waits into the commands, which are those that were added."""
        for command, waits in zip(commands, self.waits().tolist(), strict=True):
            command.update(zip(WAITS, waits, strict=True))
