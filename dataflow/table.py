"""A program as columns of integers: what the cycle model needs of each command, and no more."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import WAITS, Buffer, Command, Unit, VectorOp

Ints = NDArray[np.int64]
Queues = Iterable[Sequence[Sequence[int]]]
VectorCycles = Callable[[Command], tuple[int, int]]
_MOVE = itemgetter("address", "rows", "row_beats", "row_pitch")
_UNIT = itemgetter("unit")
_WAITS = itemgetter(*WAITS)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns, a row for each of n commands; 0 where a command has no such field.

    Parameters
    ----------
    unit : (n,)
    waits : (n, 5)
        Wait fields, by unit.
    moves : (n, 4)
        LOAD and STORE: address, rows, beats of a row, pitch of rows.
    block : (n,)
        Whether it fetches a block of commands.
    vector : (n, 2)
        VECTOR: cycles from its handshake to the next possible one, and to ``done``.
    tiles : (n, 2)
        STATIONARY: lines of a tile. STREAM: tiles of the product, in the second column.
    beats : (n,)
        STREAM: rows, as far as they do not depend on a queue.
    expert, place, route : (n,)
        Whose queue, which token of it (0 for all), and the last ROUTE command before, from 0 on.
    """

    unit: Ints
    waits: Ints
    moves: Ints
    block: Ints
    vector: Ints
    tiles: Ints
    beats: Ints
    expert: Ints
    place: Ints
    route: Ints


def make_table(
    spec: AccelSpec,
    commands: Sequence[Command],
    vector: VectorCycles,
    waits: Ints | None = None,
) -> Table:
    """Return the columns of a program.

    Parameters
    ----------
    spec : AccelSpec
    commands : sequence
        Block fetches and END among them.
    vector : callable
        Gives a VECTOR command's cycles: from its handshake to the next, and to ``done``.
    waits : (n, 5), optional
        Of commands that do not have them.
    """
    count = len(commands)
    moving, moves, computing, vectors, expecting, routed_by = [], [], [], [], [], []
    unit = np.fromiter(map(_UNIT, commands), np.int64, count)
    block, beats = np.zeros((2, count), np.int64)
    tiles = np.zeros((count, 2), np.int64)
    held, routes = False, -1
    for i, command in enumerate(commands):
        if command.get("expert"):
            expecting.append(i)
            routed_by.append((command["expert"], command.get("place", 0), routes))
        match command["unit"]:
            case Unit.LOAD | Unit.STORE:
                moving.append(i)
                moves.append(_MOVE(command))
                block[i] = command["buffer"] == Buffer.COMMAND
            case Unit.VECTOR:
                computing.append(i)
                vectors.append(vector(command))
                routes += command.get("op") == VectorOp.ROUTE
            case Unit.STATIONARY:
                tiles[i, 0] = spec.rows if command.get("row_mode") else spec.columns
                held = True
            case Unit.STREAM:
                if not held:
                    raise ValueError("a STREAM command follows its STATIONARY command")
                tiles[i, 1] = command["n_tiles"] * command["k_tiles"]
                beats[i] = command.get("beats", 0)
                held = False
    if not count or unit[-1] != Unit.END:
        raise ValueError("the program has no END")
    expert, place, route = _column(count, expecting, routed_by, 3).T
    return Table(
        unit=unit,
        waits=np.array(list(map(_WAITS, commands)), np.int64) if waits is None else waits,
        moves=_column(count, moving, moves, 4),
        block=block,
        vector=_column(count, computing, vectors, 2),
        tiles=tiles,
        beats=beats,
        expert=expert,
        place=place,
        route=route,
    )


def _column(count: int, places: list[int], rows: Sequence[tuple[int, ...]], width: int) -> Ints:
    """Return rows at their places, and zeros elsewhere."""
    out = np.zeros((count, width), np.int64)
    if rows:
        out[places] = rows
    return out


def routed(table: Table, queues: Queues) -> tuple[Ints, Ints]:
    """Return the rows that commands take, and which do nothing since their expert has no tokens.

    Parameters
    ----------
    table : Table
    queues : iterable
        For each ROUTE command, by expert, the lengths of its queues in all banks.
    """
    beats = table.beats.copy()
    skipped = np.zeros_like(beats)
    mine = np.flatnonzero(table.expert)
    if len(mine):
        lengths = np.array(list(queues), np.int64)[table.route[mine], table.expert[mine] - 1]
        token = table.place[mine] - 1
        row, bank = np.divmod(token, lengths.shape[1])
        one = lengths[np.arange(len(mine)), bank] > row
        beats[mine] = np.where(token < 0, lengths.max(axis=1), one)
        skipped[mine] = beats[mine] == 0
    return beats, skipped
