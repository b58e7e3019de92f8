"""hw.issue: order, waits modulo 2**16, and the cycle of every offer."""

from itertools import accumulate

import numpy as np
import pytest

from moesaic.hw.command_layout import command_layout
from moesaic.hw.issue import Issue
from moesaic.models.commands import COUNT_BITS, UNITS, Command, Unit, encode
from moesaic.sim.cycle_bench import Source, pack, run_cycles

MASK = (1 << COUNT_BITS) - 1
COMMANDS = 24
CYCLES = 500
Counts = list[list[int]]  # by unit, then by cycle; never wrapped


def bits(command: Command) -> int:
    return int.from_bytes(encode(command), "little")


def met(wait: list[int], counts: Counts, cycle: int) -> bool:
    """Whether every unit has done what a command waits for."""
    return all(count[cycle] >= w for count, w in zip(counts, wait, strict=True))


def offers(
    waits: Counts, counts: Counts, written: list[int], ready: list[int]
) -> tuple[list[int], list[int]]:
    """Return when each command is first offered and when it is taken.

    The queue shows a command in the cycle after it was written; the offer is a register behind it,
    free in the cycle in which the command before is taken.
    """
    first: list[int] = []
    taken: list[int] = []
    for i, wait in enumerate(waits):
        cycle = max(written[i] + 1, taken[-1] if taken else 0, first[-1] if first else 0)
        while not met(wait, counts, cycle):
            cycle += 1
        first.append(cycle + 1)
        cycle += 1
        while not ready[cycle]:
            cycle += 1
        taken.append(cycle)
    return first, taken


@pytest.mark.parametrize("start", [0, MASK - 8, MASK // 2 - 8], ids=["zero", "wrap", "half"])
@pytest.mark.parametrize("stall", [0.0, 0.5, 0.9])
@pytest.mark.parametrize("depth", [2, 4])
@pytest.mark.parametrize("unit", [Unit.LOAD, Unit.VECTOR], ids=lambda unit: unit.name.lower())
def test_offers(unit: Unit, depth: int, stall: float, start: int) -> None:
    rng = np.random.default_rng(depth)
    # Counts begin anywhere and grow; each wait is for a count around the present one, up to 2**15
    # behind it.
    steps = rng.random((len(UNITS), CYCLES)) < 0.12
    counts = [list(accumulate(row.tolist(), initial=start + 40000)) for row in steps]
    waits, level = [], 0.0
    for i in range(COMMANDS):
        level += rng.random() * 3
        near = [int(start + 40000 + max(0, level - rng.integers(0, 5))) for _ in UNITS]
        near[i % len(UNITS)] -= int(rng.choice([0, 0, 30000]))
        waits.append(near)
    payloads = [
        bits(
            {"unit": unit, "tag": i}
            | {f"wait_{u.name.lower()}": w & MASK for u, w in zip(UNITS, wait, strict=True)}
        )
        for i, wait in enumerate(waits)
    ]
    ready = (rng.random(CYCLES) >= stall).tolist()
    source = Source(payloads=payloads, offers=(rng.random(CYCLES) >= stall).tolist())
    words = [
        sum((count[cycle] & MASK) << COUNT_BITS * u for u, count in enumerate(counts))
        for cycle in range(CYCLES)
    ]
    trace = run_cycles(
        Issue(unit, depth=depth),
        {"counts": words, "command__ready": ready},
        cycles=CYCLES,
        sources={"queue": source},
    )
    written = trace.accepted["queue"]
    assert len(written) == COMMANDS
    first, taken = offers(waits, counts, written, ready)

    valid = trace["command__valid"]
    expected = [0] * CYCLES
    tags = dict.fromkeys(range(CYCLES), -1)
    for i, (begin, end) in enumerate(zip(first, taken, strict=True)):
        for cycle in range(begin, end + 1):
            expected[cycle], tags[cycle] = 1, i
    assert valid == expected
    layout = command_layout(unit)
    used = sum(part.width for name, part in iter(layout) if name != "padding")
    for cycle, tag in tags.items():
        if tag >= 0:
            assert trace["command__payload"][cycle] == payloads[tag] & ((1 << used) - 1)
    left = [cycle - 1 for cycle in first]
    for cycle in range(CYCLES):
        inside = sum(w < cycle for w in written) - sum(gone < cycle for gone in left)
        assert trace["queue__ready"][cycle] == (inside < depth)
        head = sum(gone < cycle for gone in left)
        held = inside > 0 and not met(waits[head], counts, cycle)
        assert trace["waiting"][cycle] == held


def test_no_bubble_between_commands() -> None:
    """A unit that is always ready gets a command in every cycle from the second on."""
    payloads = [bits({"unit": Unit.STORE, "tag": i}) for i in range(10)]
    source = Source(payloads=payloads, offers=[1] * 20)
    trace = run_cycles(
        Issue(Unit.STORE, depth=2),
        {"command__ready": [1] * 20},
        cycles=20,
        sources={"queue": source},
    )
    assert trace.accepted["queue"] == list(range(10))
    assert trace["command__valid"] == [0, 0, *[1] * 10, *[0] * 8]
    assert not any(trace["waiting"])


def test_waiting_tells_a_command_that_is_held_back() -> None:
    layout = command_layout(Unit.STORE)
    source = Source(payloads=[pack(layout, {"unit": 1, "wait_load": 1})], offers=[1])
    trace = run_cycles(
        Issue(Unit.STORE, depth=2),
        {"counts": [0] * 6 + [1] * 6, "command__ready": [1] * 12},
        cycles=12,
        sources={"queue": source},
    )
    assert trace["waiting"] == [0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0]
    assert trace["command__valid"] == [0] * 7 + [1] + [0] * 4


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name.lower())
def test_each_wait_counts_its_unit(unit: Unit) -> None:
    """A wait for one unit is over when that unit has done enough, whatever the others did."""
    name = f"wait_{unit.name.lower()}"
    source = Source(payloads=[pack(command_layout(Unit.LOAD), {name: 3})], offers=[1])
    counts = []
    for cycle in range(12):
        others = sum(100 << COUNT_BITS * i for i, u in enumerate(UNITS) if u != unit)
        counts.append(others | (3 if cycle >= 7 else 2) << COUNT_BITS * UNITS.index(unit))
    trace = run_cycles(
        Issue(Unit.LOAD, depth=2), {"counts": counts}, cycles=12, sources={"queue": source}
    )
    assert trace["command__valid"] == [0] * 8 + [1] * 4
