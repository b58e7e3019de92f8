"""reports.cycle_account and the lanes and groups of layers that the page shows beside it."""

from itertools import pairwise

import numpy as np
import pytest

from moesaic.reports.cycle_account import Cause, account, busy_cycles, by_node
from moesaic.reports.groups import block_of, kind_of
from moesaic.reports.run_record import UNITS, Bar
from moesaic.reports.timeline_view import MAX_LANES, assign_lanes


def random_bars(rng: np.random.Generator, cycles: int, bars: int) -> list[Bar]:
    """Return bars that overlap in all ways."""
    starts = rng.integers(0, cycles - 1, bars)
    ends = np.minimum(starts + rng.integers(0, cycles // 8, bars), cycles - 1)
    return [
        Bar(unit=str(rng.choice(UNITS)), node=f"n{i % 5}", start=int(start), end=int(end))
        for i, (start, end) in enumerate(zip(starts, ends, strict=True))
    ]


@pytest.mark.parametrize("seed", range(20))
def test_account_is_that_of_each_cycle(seed: int) -> None:
    rng = np.random.default_rng(seed)
    cycles = int(rng.integers(20, 300))
    bars = random_bars(rng, cycles, int(rng.integers(0, 30)))
    busy = {unit: np.zeros(cycles, dtype=bool) for unit in UNITS}
    for bar in bars:
        busy[bar.unit][bar.start : bar.end + 1] = True
    wanted = np.select(
        [busy["stream"], busy["vector"], busy["load"]],
        [Cause.PRODUCT, Cause.VECTOR, Cause.MEMORY],
        Cause.OTHER,
    )
    segments = account(bars, cycles)
    assert [s.start for s in segments] == [0, *(s.stop for s in segments[:-1])]
    assert [s.cause for s in segments for _ in range(s.start, s.stop)] == wanted.tolist()
    for s in segments:
        if s.cause != Cause.OTHER:
            assert any(
                b.node == s.node and b.start <= s.start and s.stop <= b.end + 1 for b in bars
            )
    assert sum(sum(causes.values()) for causes in by_node(segments).values()) == cycles
    for unit in UNITS:
        of_unit = [bar for bar in bars if bar.unit == unit]
        assert busy_cycles(of_unit, cycles) == busy[unit].sum()


@pytest.mark.parametrize("seed", range(5))
def test_lanes_hide_little(seed: int) -> None:
    bars = random_bars(np.random.default_rng(seed), 400, 12)
    bars.sort(key=lambda bar: (bar.start, bar.end))
    lanes = assign_lanes(bars)
    assert max(lanes) < MAX_LANES
    if max(lanes) < MAX_LANES - 1:
        for lane in set(lanes):
            of_lane = [bar for bar, one in zip(bars, lanes, strict=True) if one == lane]
            for before, after in pairwise(of_lane):
                hidden = before.end + 1 - after.start
                assert 4 * hidden <= min(b.end + 1 - b.start for b in (before, after))


def test_lanes_of_back_to_back_bars() -> None:
    bars = [Bar(unit="stream", node="a", start=100 * i, end=100 * i + 109) for i in range(9)]
    assert assign_lanes(bars) == [0] * 9
    together = [Bar(unit="load", node="a", start=0, end=99)] * 3
    assert assign_lanes(together) == [0, 1, 2]


@pytest.mark.parametrize(
    ("name", "block", "kind"),
    [
        ("blocks.11.attn.q", "blocks.11", "attn.q"),
        ("blocks.0.mlp.fc1", "blocks.0", "mlp.fc1"),
        ("/layer/3/attention/MatMul_1", "layer/3", "attention/MatMul_1"),
        ("patch_embed.proj", "patch_embed", "patch_embed.proj"),
        ("head", "head", "head"),
        ("", "", ""),
    ],
)
def test_groups_of_layers(name: str, block: str, kind: str) -> None:
    assert (block_of(name), kind_of(name)) == (block, kind)
