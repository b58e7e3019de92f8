"""The store of a sweep: one SQLite file that a kill at any moment leaves whole."""

import fcntl
import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError
from moesaic.sim.sweep.evaluate import Outcome

STORE_FILE = "sweep.db"
FORMAT = 1
TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE points (
    number INTEGER PRIMARY KEY,  -- in the order in which the search asked
    key TEXT NOT NULL UNIQUE,    -- the parameters as canonical JSON
    figures TEXT,                -- JSON; NULL where there are none
    problem TEXT NOT NULL,       -- why there are none, one line
    seconds REAL NOT NULL        -- of CPU time
);
CREATE TABLE verified (
    key TEXT PRIMARY KEY,        -- of points
    record TEXT NOT NULL         -- JSON
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A point that has been computed."""

    number: int
    key: str
    outcome: Outcome


class Store:
    """Points and confirmations of one sweep, in memory and on disk; each is written at once."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        rows = connection.execute("SELECT * FROM points ORDER BY number")
        self.points = {row[1]: _stored(*row) for row in rows}
        rows = connection.execute("SELECT key, record FROM verified")
        self.verified: dict[str, dict[str, Any]] = {key: json.loads(text) for key, text in rows}

    def add(self, number: int, key: str, outcome: Outcome) -> None:
        """Keep a point."""
        figures = None if outcome.figures is None else _text(outcome.figures)
        row = (number, key, figures, outcome.problem, outcome.seconds)
        self.connection.execute("INSERT INTO points VALUES (?, ?, ?, ?, ?)", row)
        self.points[key] = Stored(number=number, key=key, outcome=outcome)

    def confirm(self, key: str, record: dict[str, Any]) -> None:
        """Keep what RTL said about a point."""
        self.connection.execute(
            "INSERT OR REPLACE INTO verified VALUES (?, ?)", (key, _text(record))
        )
        self.verified[key] = record

    def content(self) -> dict[str, tuple[int, dict[str, Any] | None, str]]:
        """Return what two stores of the same sweep agree in: number, figures, problem by key."""
        return {
            key: (one.number, one.outcome.figures, one.outcome.problem)
            for key, one in self.points.items()
        }


def create_store(folder: Path, space: dict[str, Any]) -> None:
    """Make an empty store of a space in a directory."""
    with closing(sqlite3.connect(folder / STORE_FILE)) as connection:
        connection.executescript(TABLES)
        about = {"format": str(FORMAT), "space": _text(space)}
        connection.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        connection.commit()


@contextmanager
def open_store(folder: Path, space: dict[str, Any]) -> Iterator[Store]:
    """Open the store of a space, which nobody else may have open to write.

    Raises InputError if it is no store, of another space, or in use.
    """
    path = folder / STORE_FILE
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")  # a kill loses nothing
            about = dict(connection.execute("SELECT name, value FROM about"))
            if about.get("format") != str(FORMAT):
                raise InputError(
                    f"{path}: format must be {FORMAT}, not {about.get('format')!r:.20}"
                )
            _check_same(path, json.loads(about["space"]), json.loads(_text(space)))
            yield Store(connection)
            with suppress(sqlite3.OperationalError):  # while somebody reads it stays as it is
                connection.execute("PRAGMA journal_mode = DELETE")
    except BlockingIOError:
        raise InputError(f"{folder}: another sweep is at work here") from None
    except (sqlite3.DatabaseError, KeyError, json.JSONDecodeError) as error:
        raise InputError(f"{path}: is not the store of a sweep, or damaged: {error}") from None
    finally:
        os.close(lock)


def read_store(folder: Path) -> Store:
    """Return what a store holds, without changing it."""
    with closing(sqlite3.connect(f"file:{folder / STORE_FILE}?mode=ro", uri=True)) as connection:
        return Store(connection)


def _check_same(path: Path, kept: dict[str, Any], given: dict[str, Any]) -> None:
    """Refuse to go on with another space; name the first field that differs."""
    for name in {**kept, **given}:
        old, new = kept.get(name), given.get(name)
        if old != new:
            raise InputError(
                f"{path}: {name} must be as when the sweep began, {_text(old):.200}, "
                f"not {_text(new):.200}"
            )


def _stored(number: int, key: str, figures: str | None, problem: str, seconds: float) -> Stored:
    content = None if figures is None else json.loads(figures)
    return Stored(
        number=number,
        key=key,
        outcome=Outcome(figures=content, problem=problem, seconds=seconds),
    )


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
