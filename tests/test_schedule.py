"""dataflow.schedule and dataflow.check: rings, blocks, and programs without races."""

import copy
import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.packing import Data
from moesaic.dataflow.program import Program
from moesaic.dataflow.schedule import BLOCK, Ring
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import COMMAND_BYTES, UNITS, Buffer, Command, Unit, decode
from moesaic.models.errors import InputError
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import FORMS, sample_images, sample_network
from moesaic.models.zoo import load_model

TINY = load_accel("tiny")
WAITS = [f"wait_{unit.name.lower()}" for unit in UNITS]
SPECS = {
    "tiny": TINY,
    "two-tokens": replace(TINY, tokens_per_beat=2, block_commands=4, queue_depth=2),
    # rings that hold hardly more than one step needs
    "small-rings": replace(
        TINY, sparsity=(), index_lines=0, weight_lines=64, param_columns=32, norm_words=8
    ),
    "tall": replace(TINY, rows=16, columns=4, lanes=4, sparsity=(), index_lines=0),
}


@cache
def program(form: str, name: str, batch: int, order: str = "layers") -> Program:
    network = sample_network(form)
    graph = quantise(network, sample_images(network, 3))
    return map_graph(graph, SPECS[name], batch=batch, options=MapOptions(batch=order))


@pytest.mark.parametrize("size", [5, 16, 64], ids=lambda size: f"ring{size}")
def test_ring_never_gives_what_is_in_use(size: int) -> None:
    """Blocks are freed in order; each new one lies apart from all that are still in use."""
    rng = np.random.default_rng(size)
    ring = Ring(size)
    live: dict[int, set[int]] = {}
    emitted, refused = 0, 0
    for step in range(400):
        lines = int(rng.integers(1, size // 2 + 1))
        start = ring.take(lines, step, emitted)
        while start is None:
            refused += 1
            assert emitted < step
            emitted += 1
            start = ring.take(lines, step, emitted)
        live = {s: words for s, words in live.items() if s >= emitted}
        words = set(range(start, start + lines))
        assert words <= set(range(size))
        for other in live.values():
            assert not words & other
        live[step] = words
        emitted = max(emitted, step - int(rng.integers(0, 4)))
    assert refused


def test_ring_refuses_what_never_fits() -> None:
    assert Ring(4).take(4, 0, 0) == 0
    assert Ring(4).take(5, 0, 0) is None


def test_ring_keeps_data_for_later_steps() -> None:
    """What is there is found until its place is taken, and stays for the step that found it."""
    ring = Ring(8)
    first, second = (Data(1, lambda: np.zeros(1, dtype=np.uint8)) for _ in range(2))
    assert ring.take(4, 0, 0, first) == 0
    assert ring.find(second, 3) is None  # equal, but not the same
    assert ring.find(first, 3) == 0
    assert ring.take(4, 1, 1, second) == 4
    assert ring.take(4, 4, 3) is None
    assert ring.take(4, 4, 4) == 0
    assert ring.find(first, 5) is None
    assert ring.find(second, 5) == 4
    assert ring.find(None, 5) is None


@pytest.mark.parametrize("order", ["layers", "images"])
@pytest.mark.parametrize("batch", [1, 3], ids=lambda batch: f"batch{batch}")
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("form", FORMS)
def test_programs_have_no_races(form: str, name: str, batch: int, order: str) -> None:
    assert check_program(program(form, name, batch, order)) == []


@pytest.mark.parametrize("name", ["vit-mnist", "vit-mnist-2of4"])
def test_shipped_network_has_no_races(name: str) -> None:
    model = load_model(name)
    graph = quantise(model.network, model.calibration, data_bits=TINY.data_bits)
    mapped = map_graph(graph, TINY, batch=2)
    assert check_program(mapped) == []


@pytest.mark.parametrize("name", SPECS)
def test_image_holds_the_commands(name: str) -> None:
    """Command i lies at the program's address plus 64 i, and each block is fetched once."""
    mapped = program("prenorm", name, 3)
    size = mapped.spec.block_commands
    for place, command in enumerate(mapped.commands):
        first = mapped.program_address + place * COMMAND_BYTES
        stored = decode(mapped.image[first : first + COMMAND_BYTES].tobytes())
        assert stored == stored | command
    fetches = [place for place, note in enumerate(mapped.notes) if note.node == BLOCK]
    assert fetches == list(range(0, len(mapped.commands), size))
    assert {mapped.commands[p]["buffer"] for p in fetches} == {Buffer.COMMAND}


def test_ring_that_is_too_small_is_refused() -> None:
    small = replace(TINY, norm_words=1)
    with pytest.raises(InputError, match=r"norm_words must be at least \d+ for .*norm.*, not 1"):
        map_graph(program("prenorm", "tiny", 1).graph, small)


def test_prefetch_runs_ahead() -> None:
    """Weights of a step are asked for before the product in front of it begins."""
    mapped = program("prenorm", "tiny", 1)
    products = [i for i, c in enumerate(mapped.commands) if c["unit"] == Unit.STREAM]
    for earlier, later in pairwise(products[1:]):
        note = mapped.notes[later]
        loads = [
            i
            for i, (c, n) in enumerate(zip(mapped.commands, mapped.notes, strict=True))
            if c["unit"] == Unit.LOAD and n.node == note.node and c["buffer"] == Buffer.WEIGHT
        ]
        assert all(load < earlier for load in loads)


# ---- programs that were broken on purpose ----------------------------------------------------


Change = Callable[[list[Command]], object]


def broken(change: Change, name: str = "tiny") -> list[str]:
    """Return what the checker says about a program of three images after a change."""
    mapped = copy.copy(program("prenorm", name, 3, "images"))
    mapped.commands = [dict(command) for command in mapped.commands]
    change(mapped.commands)
    mapped.notes = mapped.notes[: len(mapped.commands)]
    return check_program(mapped)


def places(commands: list[Command], unit: Unit, **fields: int | None) -> list[int]:
    return [
        i
        for i, c in enumerate(commands)
        if c["unit"] == unit and all(c.get(k) == v for k, v in fields.items())
    ]


def set_field(
    unit: Unit, number: int, field: str, value: int | None, **where: int | None
) -> Change:
    def change(commands: list[Command]) -> None:
        place = places(commands, unit, **where)[number]
        now = commands[place].get(field, 0)
        commands[place][field] = now + 1 if value is None else value

    return change


BROKEN: dict[str, tuple[Change, str]] = {
    "weights not waited for": (
        set_field(Unit.STATIONARY, 0, "wait_load", 0, source_kv=None),
        r"STATIONARY 1 .* reads WEIGHT before LOAD \d+ .* wrote it",
    ),
    "keys not waited for": (
        set_field(Unit.STATIONARY, 0, "wait_stream", 0, source_kv=1),
        r"STATIONARY .* reads KV before STREAM \d+ .* wrote it",
    ),
    "scores not waited for": (
        set_field(Unit.VECTOR, 1, "wait_stream", 0),
        r"VECTOR 2 .* reads \w+ before STREAM \d+ .* wrote it",
    ),
    "normalised values not waited for": (
        set_field(Unit.STREAM, 1, "wait_vector", 0),
        r"STREAM 2 .* reads VEC before VECTOR 1 .* wrote it",
    ),
    "result not waited for": (
        set_field(Unit.STORE, 0, "wait_stream", 0),
        r"STORE 1 .* reads RESIDUAL before STREAM \d+ .* wrote it",
    ),
    "store stays behind": (
        set_field(Unit.STORE, 0, "address", 1 << 30),
        r"STORE 1 .* copies up to byte",
    ),
    "weights out of their buffer": (
        set_field(Unit.STATIONARY, 0, "base", TINY.weight_lines, source_kv=None),
        r"STATIONARY 1 .* reaches word 1\d\d\d of WEIGHT, which has 1024",
    ),
    "results out of their buffer": (
        set_field(Unit.STREAM, 1, "dest_base", TINY.kv_words),
        r"STREAM 2 .* reaches word \d+ of \w+, which has",
    ),
    "operands that nobody wrote": (
        set_field(Unit.STREAM, 1, "base", TINY.vec_words - 40),
        r"STREAM 2 .* reads word \d+ of VEC, which nothing wrote",
    ),
    "parameters that nobody wrote": (
        set_field(Unit.STATIONARY, 0, "param_base", TINY.param_columns - 64, source_kv=None),
        r"STATIONARY 1 .* reads word \d+ of PARAM, part of which nothing wrote",
    ),
    "wait for what comes later": (
        set_field(Unit.STREAM, 0, "wait_store", 1),
        r"STREAM of .* waits for STORE 1, but only 0 come before it",
    ),
    "wait for itself": (
        set_field(Unit.VECTOR, 0, "wait_vector", 1),
        r"VECTOR of .* waits for VECTOR 1, but only 0 come before it",
    ),
    "end too early": (
        lambda commands: commands[-1].update({"wait_store": 0}),
        r"END does not wait for STORE 3",
    ),
    "block fetched to the other half": (
        set_field(Unit.LOAD, 0, "line", None, buffer=Buffer.COMMAND),
        r"LOAD 2 .* fetches another block than 1",
    ),
    "block not fetched": (
        lambda commands: commands.pop(0),
        r"LOAD .* is no fetch, as command 0 of block 0",
    ),
    "no end": (lambda commands: commands.pop(), r"the program has no END"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_programs_are_found(name: str) -> None:
    change, message = BROKEN[name]
    findings = broken(change)
    assert any(re.search(message, finding) for finding in findings), findings


def test_waits_that_are_taken_away_are_found() -> None:
    """One wait at a time. What is not found follows from other waits of the program."""
    name = "small-rings"
    commands = program("prenorm", name, 3, "images").commands
    waits = [
        (place, wait) for place, command in enumerate(commands) for wait in WAITS if command[wait]
    ]

    def without(place: int, wait: str) -> Change:
        return lambda commands: commands[place].update({wait: 0})

    found = [(place, wait) for place, wait in waits[::3] if broken(without(place, wait), name)]
    assert len(found) > len(waits[::3]) // 3
    assert {Unit(commands[place]["unit"]) for place, _ in found} >= {*UNITS} - {Unit.STORE}
    assert {wait for _, wait in found} == set(WAITS)


def test_two_units_at_one_port_are_found() -> None:
    """The store of an image reads the residual while the next one's addition does."""

    def change(commands: list[Command]) -> None:
        for place in places(commands, Unit.STREAM):
            commands[place]["wait_store"] = 0
        for unit in (Unit.LOAD, Unit.VECTOR, Unit.STATIONARY):
            for place in places(commands, unit):
                commands[place]["wait_store"] = 0

    findings = broken(change)
    assert any("uses the residual read port while STORE" in finding for finding in findings)
