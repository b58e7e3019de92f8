"""The cycle model's loop, compiled: exact cycles of a table of commands, in integers.

One step per command and one per burst. The formulas are those of the RTL's handshakes; each names
the register that costs the cycle. All functions that call each other are in this file, because a
compiled function is kept until its own file changes; what other files define comes as arguments.
"""

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LONG_AGO = -(1 << 62)
BOUNDARY_BYTES = 4096
LOAD, STORE, STATIONARY, STREAM, VECTOR, END = range(6)  # models.commands.Unit
UNITS = 5
COUNT_MASK = (1 << 16) - 1
FREE, CREDIT, PLACE, ADDRESS, BEAT, DONE, QUEUE = range(7)  # a channel's state
STATE = 7


class Constants(NamedTuple):
    """What a machine and its memory add to the table, in cycles, bytes and numbers of things.

    `gain` and `price` are the memory's rate: credit that a cycle brings, and that a beat takes.
    """

    queue_depth: int
    block_commands: int
    block_beats: int
    program_address: int
    bus_bytes: int
    longest: int
    outstanding: int
    latency: int
    gain: int
    price: int
    load_first_address: int
    load_write: int
    store_first_issue: int
    store_first_beat: int
    store_done: int
    loader_latency: int
    result_latency: int


@njit(cache=True)
def channel(c: Constants) -> tuple[Ints, Ints, Ints]:
    """Return a new channel: its state, the ends of bursts in flight, and when its queue was left.

    Credit is that at the beginning of cycle FREE, the one after the last beat. The two other
    arrays are rings.
    """
    state = np.full(STATE, LONG_AGO, dtype=np.int64)
    state[FREE], state[CREDIT], state[PLACE], state[QUEUE] = 0, 2 * c.price, 0, 0
    return (
        state,
        np.full(c.outstanding, LONG_AGO, dtype=np.int64),
        np.full(c.queue_depth, LONG_AGO, dtype=np.int64),
    )


@njit(cache=True)
def transfer(
    c: Constants, state: Ints, ends: Ints, move: Ints, start: int, lead: int, tail: int, hold: bool
) -> tuple[int, int]:
    """Pass the bursts of a command, the first from cycle `start` on.

    `move` is address, rows, beats of a row, pitch of rows. Bursts are cut at multiples of the
    longest one, row by row. Each begins one cycle after the one before it, or after all its beats
    with `hold`, and when fewer than `outstanding` are in flight. Its beats may leave from `lead`
    cycles later on, and it is over `tail` cycles after the last one. Return when the next burst
    might begin, and when the last one is over.
    """
    free, credit, place = state[FREE], state[CREDIT], state[PLACE]
    most, end = 2 * c.price, start
    for row in range(move[1]):
        left = move[2]
        room = c.longest - (move[0] + row * move[3]) // c.bus_bytes % c.longest
        while left > 0:
            beats = min(left, room)
            left -= beats
            room = c.longest
            start = max(start, ends[place] + 1)
            first = max(start + lead, free)
            span = beats - 1
            if c.gain < c.price:
                credit += c.gain * (first - free)
                if credit > most:
                    credit = most
                elif credit < c.price:
                    wait = -((credit - c.price) // c.gain)
                    first += wait
                    credit += wait * c.gain
                # Beats leave one a cycle or as the credit comes in, whichever is later.
                credit -= beats * c.price
                if credit + c.gain * span < 0:
                    span = -(credit // c.gain)
                credit += c.gain * (span + 1)
            free = first + span + 1
            end = first + span + tail
            ends[place] = end
            place = (place + 1) % c.outstanding
            start += beats if hold else 1
    state[FREE], state[CREDIT], state[PLACE] = free, credit, place
    return start, end


@njit(cache=True)
def load(
    c: Constants, state: Ints, ends: Ints, left: Ints, move: Ints, offer: int, skipped: bool
) -> tuple[int, int]:
    """Run a LOAD that is valid from cycle `offer` on; return its handshake and its ``done``.

    One that is `skipped` is for an expert without tokens and copies nothing.
    """
    accept = max(offer, state[ADDRESS], left[state[QUEUE]] + 1)
    if skipped:
        over = max(accept, state[BEAT]) + 1  # and counted in the next cycle
        state[DONE] = max(over, state[DONE]) + 1
        return accept, state[DONE]
    left[state[QUEUE]] = max(accept + 1, state[BEAT])  # the queue in front of the data side
    state[QUEUE] = (state[QUEUE] + 1) % c.queue_depth
    start = accept + c.load_first_address
    free, last = transfer(c, state, ends, move, start, c.latency, 0, False)
    state[ADDRESS] = free - 1
    state[BEAT] = last
    state[DONE] = max(last + c.load_write, state[DONE] + 1)
    return accept, state[DONE]


@njit(cache=True)
def store(c: Constants, state: Ints, ends: Ints, move: Ints, offer: int) -> tuple[int, int]:
    """Run a STORE that is valid from cycle `offer` on; return its handshake and its ``done``."""
    accept = max(offer, state[DONE])
    start = accept + c.store_first_issue
    # A beat is paid for in the cycle after its handshake, or later.
    lead, tail = c.store_first_beat + 1, c.latency - 1
    _, last = transfer(c, state, ends, move, start, lead, tail, True)
    state[DONE] = last + c.store_done
    return accept, state[DONE]


@njit(cache=True)
def leave(left: Ints, place: int, sent: int, ready: int, taken: int) -> int:
    """Return when a unit is offered a command, behind the queue in front of it: hw/issue.py.

    Parameters
    ----------
    left : (queue_depth,)
        When commands left the queue, a ring; this one's cycle is put at `place`.
    sent, ready, taken : int
        When it was dispatched, when its waits are over, when the command before it was taken.
    """
    left[place] = max(sent + 1, ready, taken)
    return int(left[place]) + 1


@njit(cache=True)
def hand_over(
    taken: int, load_accept: int, stream_accept: int, lines: int, beats: int, tiles: int
) -> tuple[int, int, int]:
    """Run the tiles of one product from the stationary loader through the stream unit.

    Parameters
    ----------
    taken : int
        Cycle in which the stream unit took the last tile of the product before.
    load_accept, stream_accept : int
        Cycles in which both units took their commands.
    lines, beats, tiles : int
        Lines and beats of a tile; tiles of the product.

    Returns
    -------
    tuple of int
        Cycles in which its last tile is taken, its last line and its last beat issued.
    """
    loaded = max(load_accept + 1, taken + 1) + lines  # `full` is seen
    first = max(loaded, stream_accept + 1)
    period = max(beats, lines + 1)
    last = first + (tiles - 1) * period
    line = (loaded if tiles == 1 else last - period + 1 + lines) - 1
    return last, line, last + beats - 1


@njit(cache=True)
def run_table(
    c: Constants,
    unit: Ints,
    waits: Ints,
    moves: Ints,
    block: Ints,
    vector: Ints,
    tiles: Ints,
    beats: Ints,
    skipped: Ints,
    dispatched: Ints,
    accepted: Ints,
    done: Ints,
) -> int:
    """Run commands; return the cycle in which END is dispatched, or -1 if there is none.

    Parameters
    ----------
    c : Constants
    unit, waits, moves, block, vector, tiles
        Columns of :class:`moesaic.dataflow.table.Table`.
    beats, skipped
        Rows that STREAM commands take, and which commands do nothing; for each command.
    dispatched, accepted, done
        Filled in: when each command is dispatched, taken by its unit and done (-1 for END).
    """
    count = len(unit)
    gates = np.full(
        (UNITS, c.queue_depth), LONG_AGO, dtype=np.int64
    )  # when commands left: issue.py
    gate = np.zeros(UNITS, dtype=np.int64)
    taken = np.full(UNITS, LONG_AGO, dtype=np.int64)  # each unit's last handshake
    ends = np.zeros((UNITS, count + 1), dtype=np.int64)  # of each unit's commands in order
    over = np.zeros(UNITS, dtype=np.int64)  # how many those are
    read_state, read_ends, read_left = channel(c)
    write_state, write_ends, _ = channel(c)
    blocks = np.zeros(count // c.block_commands + 2, dtype=np.int64)  # when each is there
    known, used = 1, 0

    first = np.array([c.program_address, 1, c.block_beats, 0])
    gates[LOAD, 0], gate[LOAD] = 1, 1 % c.queue_depth
    taken[LOAD], end = load(c, read_state, read_ends, read_left, first, 2, False)
    ends[LOAD, 0], over[LOAD] = end, 1
    blocks[0] = end + 1

    vector_free = tile_taken = loader_end = stream_end = LONG_AGO
    loader = loader_accept = -1
    read = 1  # the command memory is read in this cycle at the earliest
    for i in range(count):
        if i % c.block_commands == 0:
            read = max(read, blocks[used])
            used += 1
        ready = LONG_AGO  # when all waits are seen to be over
        for other in range(UNITS):
            place = over[other] - ((over[other] - waits[i, other]) & COUNT_MASK)  # undo the modulo
            if place > 0:
                ready = max(ready, ends[other, place - 1] + 1)
        u = unit[i]
        if u == END:
            dispatched[i] = max(read + 1, ready)
            return int(dispatched[i])
        sent = max(read + 1, gates[u, gate[u]] + 1)
        dispatched[i] = sent
        read = sent + 1
        offer = leave(gates[u], gate[u], sent, ready, taken[u])
        gate[u] = (gate[u] + 1) % c.queue_depth
        skip = skipped[i] != 0
        end = -1
        if u == LOAD:
            accept, end = load(c, read_state, read_ends, read_left, moves[i], offer, skip)
            if block[i]:
                blocks[known] = end + 1
                known += 1
        elif u == STORE:
            accept, end = store(c, write_state, write_ends, moves[i], offer)
        elif u == VECTOR:
            accept = max(offer, vector_free)
            vector_free = accept + vector[i, 0]
            end = accept + vector[i, 1]
        elif u == STATIONARY:
            accept = max(offer, loader_end)
            if skip:
                loader_end = accept + 1
            loader, loader_accept = i, accept
        else:
            accept = max(offer, stream_end)
            if skip:
                stream_end = accept + 1
            else:
                tile_taken, loader_end, stream_end = hand_over(
                    tile_taken, loader_accept, accept, tiles[loader, 0], beats[i], tiles[i, 1]
                )
            done[loader] = loader_end + c.loader_latency
            ends[STATIONARY, over[STATIONARY]] = done[loader]
            over[STATIONARY] += 1
            end = stream_end + c.result_latency
        taken[u] = accept
        accepted[i], done[i] = accept, end
        if u != STATIONARY:
            ends[u, over[u]] = end
            over[u] += 1
    return -1
