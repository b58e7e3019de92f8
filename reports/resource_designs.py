"""The machines that the resource model is fitted on, and those that are held back from it.

Fitted on are changes of some parameters at a time around a small machine; parameters that change
together belong to different modules. Held back are random machines, and presets.
"""

from collections.abc import Iterator
from dataclasses import replace
from random import Random
from typing import Any

from moesaic.models.accel import NM, AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.errors import InputError

MODES = {
    text: tuple(NM.parse(mode) for mode in text.split())
    for text in ("", "2:4", "1:4", "2:8", "4:16", "2:4 2:8", "1:4 2:4 2:8 4:16")
}
SMALL = AccelSpec(
    name="small",
    rows=8,
    columns=8,
    lanes=8,
    psum_depth=64,
    weight_lines=256,
    param_columns=256,
    norm_words=32,
    input_words=64,
    act_words=256,
    vec_words=256,
    kv_words=256,
    score_words=512,
    residual_words=256,
    rowstat_rows=128,
)
"""The machine that changes start from."""

Changes = dict[str, Any]
CHANGES: tuple[Changes, ...] = (
    {},
    {"tokens_per_beat": 2},
    {"data_bits": 16},
    {"experts": 8},
    {"lanes": 32, "queue_depth": 32, "outstanding": 32, "burst_beats": 256, "psum_depth": 1024},
    {"columns": 32, "block_commands": 64, "queue_depth": 16, "outstanding": 16},
    {"rows": 16, "columns": 4, "psum_depth": 128, "burst_beats": 64},
    {"rows": 4, "bus_bytes": 4, "queue_depth": 2, "outstanding": 1, "block_commands": 4},
    {"sparsity": MODES["2:8"], "index_lines": 64, "rows": 16, "tokens_per_beat": 2},
    {"tokens_per_beat": 2, "experts": 32, "psum_depth": 256, "gelu": "polynomial", "columns": 16},
    {"sparsity": MODES["2:4"], "index_lines": 128, "lanes": 4},
    {"rows": 32, "columns": 16, "lanes": 16, "bus_bytes": 32},
    {"sparsity": MODES["1:4 2:4 2:8 4:16"], "index_lines": 256, "rows": 4, "bus_bytes": 4},
    {"data_bits": 16, "rows": 16, "lanes": 16, "experts": 16, "gelu": "polynomial"},
    {"sparsity": MODES["1:4"], "index_lines": 64, "arrays": "separate"},
    {"sparsity": MODES["4:16"], "index_lines": 64, "columns": 16},
    {"data_bits": 16, "sparsity": MODES["2:4 2:8"], "index_lines": 64, "columns": 16},
)
PRESETS = {"xcup": ("tiny", "zcu102-batch"), "ecp5": ("ecp5-85k",)}
"""Accelerators that ship and are held back."""
HELD_RANDOM = {"xcup": 8, "ecp5": 6}
"""Random machines held back."""
LARGEST = {"xcup": 5, "ecp5": 3}
"""Logarithm of the most rows, columns and lanes of random machines."""


def fitted() -> Iterator[AccelSpec]:
    """Return the machines to fit on: changes of some parameters at a time."""
    for number, changes in enumerate(CHANGES):
        yield replace(SMALL, **changes, name=f"small-{number}")


def held_back(target: str) -> Iterator[AccelSpec]:
    """Return the machines that errors are stated on."""
    yield from map(load_accel, PRESETS[target])
    yield from machines_at_random(seed=5, count=HELD_RANDOM[target], largest=LARGEST[target])


def machines_at_random(*, seed: int, count: int, largest: int = 5) -> Iterator[AccelSpec]:
    """Return machines drawn at random, sizes up to ``2**largest``."""
    draw = Random(seed)  # noqa: S311 (repeatable on purpose)
    made = 0
    while made < count:
        try:
            spec = _draw(draw, f"held-{made}", largest)
        except InputError:
            continue
        made += 1
        yield spec


def _draw(draw: Random, name: str, largest: int) -> AccelSpec:
    """Return one machine with parameters drawn one by one, sizes up to ``2**largest``."""

    def power(low: int, high: int) -> int:
        return 1 << draw.randint(low, high)

    sparsity = draw.choice(list(MODES.values()))
    bits = draw.choice((8, 8, 16))
    return AccelSpec(
        name=name,
        rows=power(2, largest),
        columns=power(2, largest),
        lanes=power(2, largest),
        tokens_per_beat=1 if bits == 16 else draw.choice((1, 2)),
        data_bits=bits,
        sparsity=sparsity,
        bus_bytes=power(2, 5),
        outstanding=power(0, 4),
        burst_beats=power(3, 6),
        queue_depth=power(1, 4),
        block_commands=power(2, 6),
        experts=draw.choice((0, 4, 16, 32)),
        gelu=draw.choice(("table", "table", "polynomial")),
        arrays=draw.choice(("unified", "unified", "unified", "separate")),
        psum_depth=power(5, 8),
        weight_lines=power(7, 11),
        index_lines=power(7, 10),
        param_columns=power(7, 11),
        norm_words=power(4, 7),
        input_words=power(6, 9),
        act_words=power(7, 11),
        vec_words=power(7, 11),
        kv_words=power(8, 12),
        score_words=power(8, 12),
        residual_words=power(7, 11),
        rowstat_rows=power(7, 10),
    )
