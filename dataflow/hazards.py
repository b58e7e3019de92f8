"""Which commands must be over before a command begins, compiled: see dataflow/scoreboard.py."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

UNITS = 5
END = UNITS
START, STOP, UNIT, NUMBER, WRITES = range(5)  # columns of a known access
ROOM = 64  # accesses to a scratchpad that are known at a time, to begin with


@njit(cache=True)
def _place(known: Ints, low: int, high: int, word: int) -> int:
    """Return where the first access lies that begins at `word` or later."""
    while low < high:
        middle = (low + high) // 2
        if known[middle, START] < word:
            low = middle + 1
        else:
            high = middle
    return low


@njit(cache=True)
def find_waits(
    units: Ints, spans: Ints, ports: Ints, buffers: int, port_count: int, loads: int
) -> tuple[Ints, Ints]:
    """Return for each command how many commands of each unit must be over, and have come so far.

    Parameters
    ----------
    units : (n,)
        END waits for all.
    spans : (m, 5)
        Accesses in the order of commands, reads before writes: command, scratchpad, first word,
        end, whether it writes.
    ports : (p, 2)
        Uses of shared ports in the order of commands: command, port.
    buffers, port_count : int
        How many scratchpads and shared ports there are.
    loads : int
        LOAD commands before the first command.
    """
    count = len(units)
    waits = np.zeros((count, UNITS), dtype=np.int64)
    counts = np.zeros((count, UNITS), dtype=np.int64)
    so_far = np.zeros(UNITS, dtype=np.int64)
    so_far[0] = loads
    # Accesses to each scratchpad by their first word, so that only neighbours are looked at.
    known = np.zeros((buffers, ROOM, 5), dtype=np.int64)
    sizes = np.zeros(buffers, dtype=np.int64)
    longest = np.zeros(buffers, dtype=np.int64)  # words of one access
    users = np.zeros((port_count, UNITS), dtype=np.int64)
    span = port = 0
    for i in range(count):
        unit = units[i]
        if unit == END:
            waits[i] = so_far
            counts[i] = so_far
            continue
        so_far[unit] += 1
        number = so_far[unit]
        while span < len(spans) and spans[span, 0] == i:
            buffer, start, stop, writes = spans[span, 1:]
            span += 1
            size = sizes[buffer]
            if size == known.shape[1]:
                larger = np.zeros((buffers, 2 * size, 5), dtype=np.int64)
                larger[:, :size] = known
                known = larger
            mine = known[buffer]
            low = _place(mine, 0, size, start - longest[buffer] + 1)
            high = _place(mine, low, size, stop)
            kept = low  # accesses that lie inside give their place to this one
            for place in range(low, high):
                end, other = mine[place, STOP], mine[place, UNIT]
                wrote = mine[place, WRITES]
                inside = False
                if end > start:
                    hazard = other != unit if writes else wrote != 0
                    if hazard and mine[place, NUMBER] > waits[i, other]:
                        waits[i, other] = mine[place, NUMBER]
                    inside = mine[place, START] >= start and end <= stop
                    inside = inside and (writes != 0 or (other == unit and wrote == 0))
                if not inside:
                    if kept != place:
                        mine[kept] = mine[place]
                    kept += 1
            behind = kept + 1  # where what comes after goes; most often it stays
            if behind != high:
                mine[behind : behind + size - high] = mine[high:size].copy()
            size += behind - high
            at = _place(mine, low, kept, start)
            if at != kept:
                mine[at + 1 : behind] = mine[at:kept].copy()
            mine[at, START], mine[at, STOP], mine[at, UNIT] = start, stop, unit
            mine[at, NUMBER], mine[at, WRITES] = number, writes
            sizes[buffer] = size
            longest[buffer] = max(longest[buffer], stop - start)
        while port < len(ports) and ports[port, 0] == i:
            users_of = users[ports[port, 1]]
            port += 1
            for other in range(UNITS):
                if other != unit and users_of[other] > waits[i, other]:
                    waits[i, other] = users_of[other]
            users_of[unit] = number
        counts[i] = so_far
    return waits, counts
