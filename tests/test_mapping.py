"""Choices of single layers: programs stay right, and are those that were asked for."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.choices import Freedoms, LayerChoice
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.lower import Lowering
from moesaic.dataflow.mapper import freedoms, map_graph
from moesaic.dataflow.mapping_file import explicit
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.dataflow.program import Program
from moesaic.dataflow.queues import queue_lengths
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import Buffer, Command, Unit, VectorOp
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import FORMS
from moesaic.models.zoo import load_model
from moesaic.sim.campaign import random_graph
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, simulate
from tests.mapping_cases import SPECS, TINY, network

ROWS = 7  # of tokens of the small networks, with one token a beat


def chosen(**layers: LayerChoice) -> MapOptions:
    """Return a mapping with choices by the end of a layer's name, where dots are underscores."""
    return MapOptions(
        layers=tuple(
            (f"block0.{name.replace('_', '.')}", choice) for name, choice in layers.items()
        )
    )


def commands(program: Program, name: str, unit: Unit) -> list[tuple[int, int, Command]]:
    """Return part, first row and fields of a layer's commands."""
    return [(n.part, n.row, c) for c, n in program.of_unit(unit) if n.node == f"block0.{name}"]


def at_random(rng: np.random.Generator, there: Freedoms) -> MapOptions:
    """Return a mapping with more than half of all choices drawn at random."""
    layers = []
    for name, its in there.items():
        values = {
            knob: freedom.allowed[int(rng.integers(len(freedom.allowed)))]
            for knob, freedom in its.items()
            if rng.random() < 0.6
        }
        layers.append((name, LayerChoice(**values)))  # type: ignore[arg-type]
    return MapOptions(layers=tuple(layers), lag=int(rng.integers(0, 6)))


def some_programs(seed: int, count: int) -> list[Job]:
    """Return random mappings of a random network on the tiny accelerator that fit."""
    rng = np.random.default_rng([5, seed])
    graph, inputs = random_graph(rng, TINY, int(rng.choice([3, 10, 31])))
    batch = int(rng.integers(1, 4))
    there = freedoms(graph, TINY, batch=batch)
    jobs: list[Job] = []
    while len(jobs) < count:
        try:
            options = at_random(rng, there)
            program = map_graph(graph, TINY, batch=batch, options=options)
        except InputError as error:
            assert "values must be in 0.." in str(error)  # noqa: PT017 - the only one that depends
            continue
        jobs.append(Job(program=program, inputs=inputs[:batch]))
    return jobs


@cache
def shipped(model_name: str) -> Graph:
    model = load_model(model_name)
    return quantise(model.network, model.calibration)


@pytest.mark.parametrize(
    ("model", "accel"), [("vit-mnist", "tiny"), ("m3vit-tiny", "zcu102"), ("deit-tiny", "zcu102")]
)
def test_usual_choices_written_out_are_the_usual_program(model: str, accel: str) -> None:
    graph, spec = shipped(model), load_accel(accel)
    usual = map_graph(graph, spec)
    options = explicit(STANDARD, freedoms(graph, spec))
    assert len(options.layers) > 30
    written = map_graph(graph, spec, options=options)
    assert written.commands == usual.commands
    assert written.notes == usual.notes
    if model == "vit-mnist":
        assert predict(usual).cycles == 135_136


@pytest.mark.parametrize("seed", range(1, 13))
def test_random_choices_have_no_races(seed: int) -> None:
    jobs = some_programs(seed, 4)
    for job in jobs:
        assert check_program(job.program) == []
    macs = {sum(note.macs for note in job.program.notes) for job in jobs}
    assert len(macs) == 1


@pytest.mark.xdist_group("tiny")
def test_random_choices_on_rtl(tmp_path: Path) -> None:
    """To the bit and to the cycle, and with stalls to the bit."""
    jobs = [job for seed in (1, 2, 4, 7, 9) for job in some_programs(seed, 2)]
    jobs += [Job(program=job.program, inputs=job.inputs, stall=0.5, seed=1) for job in jobs[:4]]
    logs, _ = simulate(jobs, tmp_path)
    for job, log in zip(jobs, logs, strict=True):
        tensors = [execute(job.program.graph, x, lanes=TINY.lanes) for x in job.inputs]
        assert compare_tensors(job.program, log, tensors).first == ""
        if not job.stall:
            timing = predict(job.program, queue_lengths(job.program, tensors))
            assert compare_cycles(job.program, log, timing) == ""


def test_tiles_of_a_command() -> None:
    options = chosen(fc1=LayerChoice(tiles=2))
    program = map_graph(network("prenorm").graph, TINY, options=options)
    tiles = [(part, c["n_tiles"]) for part, _, c in commands(program, "fc1", Unit.STATIONARY)]
    assert tiles == [(0, 2), (2, 2), (4, 1)]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("tiles", [(0, 0), (0, 3), (0, 6), (2, 0), (2, 3), (2, 6), (4, 0), (4, 3), (4, 6)]),
        ("rows", [(0, 0), (2, 0), (4, 0), (0, 3), (2, 3), (4, 3), (0, 6), (2, 6), (4, 6)]),
        ("first", [(0, 0), (0, 3), (0, 6), (2, 0), (4, 0)]),
    ],
)
def test_order_of_rows_and_tiles(order: str, expected: list[tuple[int, int]]) -> None:
    options = chosen(fc1=LayerChoice(tiles=2, rows=3, order=order))
    program = map_graph(network("prenorm").graph, TINY, options=options)
    assert [(p, row) for p, row, _ in commands(program, "fc1", Unit.STREAM)] == expected


def test_last_row_alone_is_odd() -> None:
    """Seven tokens in rows of two: the last row of the last group has one."""
    options = chosen(fc1=LayerChoice(rows=2), attn_scores=LayerChoice(rows=2))
    program = map_graph(network("prenorm").graph, SPECS["two-tokens"], options=options)
    for name in ("fc1", "attn.scores"):
        rows = {(row, c["beats"], c["odd"]) for _, row, c in commands(program, name, Unit.STREAM)}
        assert rows == {(0, 2, 0), (2, 2, 1)}


def test_fetches_of_experts_know_their_routing() -> None:
    graph = network("experts").graph
    few = MapOptions(
        layers=(
            ("block0.gate", LayerChoice(early=0)),
            ("block0.experts.1.hidden", LayerChoice(tiles=2)),
        )
    )
    steps = Lowering(TINY, graph, options=few).run()
    waiting = [
        (i, fetch.behind) for i, s in enumerate(steps) for fetch in s.fetches if fetch.expert
    ]
    assert len(waiting) > 8
    assert {steps[i - behind].node for i, behind in waiting} == {"block0.gate"}


def test_rows_make_long_products_fit() -> None:
    """Partial sums hold the rows of a command, not those of the whole product."""
    graph = network("prenorm", 11).graph
    short = replace(TINY, psum_depth=8)
    with pytest.raises(InputError, match="psum_depth must be at least"):
        map_graph(graph, short)
    there = freedoms(graph, TINY)
    products = [name for name, its in there.items() if {"ahead", "values"} & set(its)]
    cut = tuple((name, LayerChoice(rows=6)) for name in (*products, "block0.attn"))
    cut = tuple((name, choice) for name, choice in cut if there[name]["rows"].usual != 1)
    assert check_program(map_graph(graph, short, options=MapOptions(layers=cut))) == []


@pytest.mark.parametrize(
    ("heads", "order", "values", "expected"),
    [
        (3, "grouped", 3, "s0 s1 s2 v m0 m1 m2"),
        (3, "grouped", 1, "s0 v s1 s2 m0 m1 m2"),
        (2, "grouped", 0, "v s0 s1 m0 m1 s2 m2"),
        (2, "rolling", 2, "s0 s1 v m0 s2 m1 m2"),
        (1, "rolling", 1, "s0 v m0 s1 m1 s2 m2"),
    ],
)
def test_heads_in_flight(heads: int, order: str, values: int, expected: str) -> None:
    options = chosen(attn_scores=LayerChoice(heads=heads, order=order, values=values))
    program = map_graph(network("prenorm").graph, TINY, options=options)
    short = {"block0.attn.scores": "s", "block0.v": "v", "block0.attn": "m"}
    seen = []
    for _, note in program.of_unit(Unit.STREAM):
        if note.node in short:
            word = short[note.node]
            seen.append(word if word == "v" else f"{word}{note.part}")
    assert " ".join(seen) == expected
    softmaxes = commands(program, "attn.softmax", Unit.VECTOR)
    assert len({c["dest_base"] for _, _, c in softmaxes}) == heads


def test_slots_of_scores() -> None:
    program = map_graph(
        network("prenorm").graph, TINY, options=chosen(attn_scores=LayerChoice(slots=2))
    )
    scores = commands(program, "attn.scores", Unit.STREAM)
    assert len({c["dest_base"] for _, _, c in scores}) == 2


def test_unwanted_places_are_given_back() -> None:
    few = chosen(attn_scores=LayerChoice(heads=1, slots=1))
    lowering = Lowering(TINY, network("prenorm").graph, options=few)
    lowering.run()
    assert not lowering.scratch.live[Buffer.SCORE]
    assert not lowering.scratch.live[Buffer.VEC]


def test_plain_order_is_one_row_at_a_time() -> None:
    graph = network("prenorm").graph
    one = LayerChoice(rows=1)
    by_layer = map_graph(graph, TINY, options=chosen(attn_scores=one, attn=one))
    plain = map_graph(graph, TINY, options=MapOptions(attention="plain"))
    assert by_layer.commands == plain.commands
    whole = LayerChoice(rows=ROWS)
    shared = MapOptions(attention="plain", layers=chosen(attn_scores=whole, attn=whole).layers)
    assert map_graph(graph, TINY, options=shared).commands == map_graph(graph, TINY).commands


@pytest.mark.parametrize("form", [*FORMS, "experts"])
def test_rows_of_the_vector_unit(form: str) -> None:
    """Tokens are done once each, in order, and begin with a whole row."""
    graph = network(form).graph
    spec = SPECS["two-tokens"]
    there = freedoms(graph, spec)
    vector = [n for n, its in there.items() if set(its) == {"rows"} and its["rows"].usual != 1]
    options = MapOptions(layers=tuple((name, LayerChoice(rows=2)) for name in vector))
    program = map_graph(graph, spec, options=options)
    assert check_program(program) == []
    seen: dict[tuple[str, int], list[tuple[int, int]]] = {}
    for command, note in program.of_unit(Unit.VECTOR):
        if command["op"] != VectorOp.ROUTE and note.node in vector:
            seen.setdefault((note.node, note.part), []).append((note.row, command["tokens"]))
    for (name, _), groups in seen.items():
        tokens = graph[name].tokens
        assert groups == [(row, min(4, tokens - 2 * row)) for row in range(0, -(-tokens // 2), 2)]


def weights_ahead(program: Program, name: str) -> list[int]:
    """Return, for each fetch of a layer's weights, the STREAM commands between it and its use."""
    out = []
    for place, (command, note) in enumerate(zip(program.commands, program.notes, strict=True)):
        if command["unit"] != Unit.LOAD or command["buffer"] != Buffer.WEIGHT:
            continue
        if note.node != name:
            continue
        steps = 0
        for later, its in zip(program.commands[place:], program.notes[place:], strict=True):
            if later["unit"] == Unit.STREAM and (its.node, its.part) == (name, note.part):
                break
            steps += later["unit"] in (Unit.STREAM, Unit.VECTOR)
        out.append(steps)
    return out


def test_fetches_ahead() -> None:
    graph = network("prenorm").graph
    usual = weights_ahead(map_graph(graph, TINY), "block0.fc2")
    assert max(usual) > 2
    for ahead in (1, 2):
        options = chosen(fc2=LayerChoice(ahead=ahead))
        assert weights_ahead(map_graph(graph, TINY, options=options), "block0.fc2") == [ahead - 1]


def test_lag_holds_fetches_back() -> None:
    """The fewer steps a fetch leaves ahead, the earlier it is issued, into a small ring."""
    graph, spec = network("prenorm").graph, SPECS["small-rings"]
    programs = [map_graph(graph, spec, options=MapOptions(lag=lag)) for lag in (0, 2, 6)]
    sums = [
        sum(sum(weights_ahead(program, node.name)) for node in graph.nodes) for program in programs
    ]
    assert sums[0] > sums[1] > sums[2] > 0
    assert all(check_program(program) == [] for program in programs)


@pytest.mark.parametrize("early", [0, 2, 4])
def test_experts_fetched_before_their_routing(early: int) -> None:
    graph = network("experts").graph
    program = map_graph(graph, TINY, options=chosen(gate=LayerChoice(early=early)))
    loads = [(c["expert"], n.node) for c, n in program.of_unit(Unit.LOAD) if "experts" in n.node]
    free = {name.split(".")[2] for expert, name in loads if not expert}
    assert free == {str(number) for number in range(early)}


def test_images_of_a_group() -> None:
    graph = network("prenorm").graph
    for images in (1, 2, 4):
        program = map_graph(graph, TINY, batch=4, options=MapOptions(images=images))
        order = [note.image for _, note in program.of_unit(Unit.STREAM)]
        assert [max(order[: order.index(i)]) for i in range(1, 4) if i % images == 0] == [
            i - 1 for i in range(1, 4) if i % images == 0
        ]
        last = len(order) - 1 - order[::-1].index(0)
        assert (1 in order[:last]) == (images > 1)
    with pytest.raises(InputError, match="images must divide the batch of 4, not 3"):
        map_graph(graph, TINY, batch=4, options=MapOptions(images=3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (chosen(fc1=LayerChoice(tiles=9)), r"layers: block0.fc1: tiles must be in 1..5, not 9"),
        (chosen(q=LayerChoice(rows=0)), r"layers: block0.q: rows must be in 1..7, not 0"),
        (
            chosen(q=LayerChoice(order="rolling")),
            r"layers: block0.q: order must be one of tiles, first, rows, not 'rolling'",
        ),
        (
            chosen(attn_scores=LayerChoice(heads=4)),
            r"layers: block0.attn.scores: heads must be in 1..3, not 4",
        ),
        (
            chosen(norm1=LayerChoice(tiles=1)),
            r"layers: block0.norm1: tiles is no choice of it, allowed are rows",
        ),
        (chosen(q2=LayerChoice(tiles=1)), r"layers: 'block0.q2' is no layer of the network"),
        (chosen(stream=LayerChoice(rows=1)), r"is no layer of the network"),
    ],
    ids=lambda value: "" if isinstance(value, MapOptions) else value[:40],
)
def test_what_a_network_does_not_leave_open_is_refused(options: MapOptions, message: str) -> None:
    with pytest.raises(InputError, match=message):
        map_graph(network("prenorm").graph, TINY, options=options)


def test_choices_are_checked_alone() -> None:
    with pytest.raises(InputError, match=r"tiles must be an integer in 0..65536, not '2'"):
        LayerChoice(tiles="2")  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"rows must be an integer in 0..65536, not True"):
        LayerChoice(rows=True)
    with pytest.raises(InputError, match=r"order must be one of tiles, .*, not 'up'"):
        LayerChoice(order="up")
    with pytest.raises(InputError, match=r"lag must be an integer in 0..64, not -1"):
        MapOptions(lag=-1)
    with pytest.raises(InputError, match="images must be 0 unless batch is auto"):
        MapOptions(images=2, batch="images")
    with pytest.raises(InputError, match="layers: a is there twice"):
        MapOptions(layers=(("a", LayerChoice(rows=1)), ("a", LayerChoice(rows=2))))
    assert MapOptions(layers=(("a", LayerChoice()),)) == STANDARD
    one, two = ("a", LayerChoice(rows=1)), ("b", LayerChoice(rows=2))
    assert hash(MapOptions(layers=(two, one))) == hash(MapOptions(layers=(one, two)))
