"""dataflow.scoreboard: which hazards wait, for whom, and how far back a wait may reach."""

from collections.abc import Sequence

import numpy as np
import pytest

from moesaic.dataflow.scoreboard import WINDOW, Scoreboard, Span
from moesaic.models.commands import COUNT_BITS, UNITS, Unit

FULL: Span = ("ACT", 8, 16)
WAITS = [f"wait_{unit.name.lower()}" for unit in UNITS]


def waits(**counts: int) -> dict[str, int]:
    return {name: counts.get(name.removeprefix("wait_"), 0) for name in WAITS}


class Board(Scoreboard):
    """A scoreboard that gives each command's waits as it is entered."""

    def enter(
        self,
        unit: Unit,
        *,
        reads: Sequence[Span] = (),
        writes: Sequence[Span] = (),
        ports: Sequence[str] = (),
    ) -> dict[str, int]:
        self.add(unit, reads=reads, writes=writes, ports=ports)
        return dict(zip(WAITS, self.waits()[-1].tolist(), strict=True))


@pytest.mark.parametrize(
    ("span", "met"),
    [
        (("ACT", 0, 8), False),
        (("ACT", 0, 9), True),
        (("ACT", 10, 12), True),
        (("ACT", 15, 99), True),
        (("ACT", 16, 20), False),
        (("VEC", 8, 16), False),
    ],
    ids=["before", "first-word", "inside", "last-word", "behind", "elsewhere"],
)
def test_reads_wait_for_writers_of_the_same_words(span: Span, met: bool) -> None:
    board = Board()
    assert board.enter(Unit.STREAM, writes=(FULL,)) == waits()
    assert board.enter(Unit.VECTOR, reads=(span,)) == waits(stream=int(met))


def test_a_unit_waits_for_its_own_results() -> None:
    board = Board()
    board.add(Unit.STREAM, writes=(FULL,))
    assert board.enter(Unit.STREAM, reads=(FULL,)) == waits(stream=1)


@pytest.mark.parametrize("first", ["reads", "writes"])
def test_writes_wait_for_other_units_only(first: str) -> None:
    for unit, expected in ((Unit.STREAM, waits()), (Unit.LOAD, waits(stream=1))):
        board = Board()
        if first == "reads":
            board.add(Unit.STREAM, reads=(FULL,))
        else:
            board.add(Unit.STREAM, writes=(FULL,))
        assert board.enter(unit, writes=(FULL,)) == expected


def test_two_readers_do_not_wait_for_each_other() -> None:
    board = Board()
    board.add(Unit.STREAM, reads=(FULL,))
    assert board.enter(Unit.VECTOR, reads=(FULL,)) == waits()
    assert board.enter(Unit.LOAD, writes=(FULL,)) == waits(stream=1, vector=1)


def test_ports_are_shared_in_turns() -> None:
    board = Board()
    board.add(Unit.VECTOR, ports=("residual read",))
    board.add(Unit.VECTOR, ports=("residual read",))
    assert board.enter(Unit.VECTOR, ports=("residual read",)) == waits()
    assert board.enter(Unit.STREAM, ports=("residual write",)) == waits()
    assert board.enter(Unit.STORE, ports=("residual read", "residual write")) == waits(
        vector=3, stream=1
    )


def test_parts_that_were_overwritten_still_count() -> None:
    """A word's last writer is waited for, whoever wrote its neighbours since."""
    board = Board()
    board.add(Unit.LOAD, writes=(("ACT", 0, 16),))
    board.add(Unit.STREAM, writes=(("ACT", 0, 8),))
    assert board.enter(Unit.VECTOR, reads=(("ACT", 10, 12),)) == waits(load=1)
    assert board.enter(Unit.VECTOR, reads=(("ACT", 2, 12),)) == waits(load=1, stream=1)


def test_waits_are_never_older_than_the_window() -> None:
    board = Board()
    board.add(Unit.LOAD, writes=(FULL,))
    last = 5 * WINDOW
    for _ in range(last):
        board.add(Unit.LOAD)
    # The load is long over; the wait names one that is certain to be over, modulo 2**16.
    expected = (last + 1 - WINDOW) % (1 << COUNT_BITS)
    assert board.enter(Unit.VECTOR, reads=(FULL,)) == waits(load=expected)


def test_random_traffic_leaves_no_hazard() -> None:
    """Against word by word bookkeeping: every writer and reader of a word is waited for."""
    rng = np.random.default_rng(3)
    board = Board()
    counts = dict.fromkeys(UNITS, 0)
    writer: dict[int, tuple[Unit, int]] = {}
    readers: dict[int, dict[Unit, int]] = {}
    for _ in range(600):
        unit = UNITS[int(rng.integers(len(UNITS)))]
        spans = []
        for _ in range(2):
            start = int(rng.integers(0, 30))
            spans.append(("KV", start, start + int(rng.integers(1, 12))))
        got = board.enter(unit, reads=(spans[0],), writes=(spans[1],))
        counts[unit] += 1
        needed = dict.fromkeys(UNITS, 0)
        for word in range(*spans[0][1:]):
            if word in writer:
                other, count = writer[word]
                needed[other] = max(needed[other], count)
        for word in range(*spans[1][1:]):
            for other, count in (*readers.get(word, {}).items(), writer.get(word, (unit, 0))):
                if other != unit:
                    needed[other] = max(needed[other], count)
        for other in UNITS:
            assert needed[other] <= got[f"wait_{other.name.lower()}"] <= counts[other]
        for word in range(*spans[0][1:]):
            readers.setdefault(word, {})[unit] = counts[unit]
        for word in range(*spans[1][1:]):
            # who waits for this writer has waited for all those that the writer waited for
            writer[word] = (unit, counts[unit])
            readers.pop(word, None)
