"""Batches by layers: every image exact, and each used expert's weights loaded once for all."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.cycles import Timing, predict
from moesaic.dataflow.lower_batch import BatchLowering
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.program import Program
from moesaic.dataflow.queues import queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, Unit, VectorOp
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Ints, Product
from moesaic.models.input_matrix import input_matrix
from moesaic.models.network import Network
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, RunLog, outputs, simulate
from tests.test_experts_system import STALLS, favour, with_gate

LAYERS, IMAGES = MapOptions(batch="layers"), MapOptions(batch="images")
SPECS = {
    "p2-int8": AccelSpec(
        rows=8,
        columns=8,
        lanes=8,
        tokens_per_beat=2,
        bus_bytes=8,
        experts=16,
        weight_lines=128,
        score_words=1024,
        residual_words=1024,
    ),
    "p1-int8": AccelSpec(
        rows=4,
        columns=8,
        lanes=4,
        bus_bytes=4,
        experts=8,
        psum_depth=128,
        score_words=2048,
        act_words=1024,
        vec_words=1024,
        kv_words=1024,
        residual_words=1024,
    ),
    "p1-int16": AccelSpec(
        rows=4,
        columns=8,
        lanes=4,
        data_bits=16,
        bus_bytes=8,
        experts=8,
        psum_depth=128,
        score_words=2048,
        act_words=1024,
        vec_words=1024,
        kv_words=1024,
        residual_words=1024,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A network and its batch; with `late` some expert has tokens of a later image only."""

    network: Network
    batch: int
    late: bool = False
    all_to: int | None = None


CASES = {
    "odd tokens": Case(network=sample_network("experts", tokens=11, top=3, depth=2), batch=3),
    "even tokens": Case(network=sample_network("experts", tokens=10, seed=2), batch=2),
    "late": Case(
        network=sample_network("experts", tokens=3, experts=8, top=1, seed=3), batch=4, late=True
    ),
    "all to one": Case(
        network=with_gate(
            sample_network("experts", experts=5, top=1, tokens=13, seed=1), favour(3), same=True
        ),
        batch=3,
        all_to=3,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A program, what it runs on, and what must come of it."""

    program: Program
    inputs: list[Ints]
    tensors: list[dict[str, Ints]]
    queues: list[list[list[int]]]
    timing: Timing

    def check(self, log: RunLog, *, stall: float) -> None:
        """Ask for equal tensors, results, bytes and, without stalls, cycles."""
        program = self.program
        assert compare_tensors(program, log, self.tensors).first == ""
        last = program.graph.nodes[-1].name
        for got, tensors in zip(outputs(program, log), self.tensors, strict=True):
            assert (got == tensors[last]).all()
        assert log.read_bytes == self.timing.bytes_read
        if not stall:
            assert compare_cycles(program, log, self.timing) == ""


def prepare(spec: AccelSpec, case: Case, options: MapOptions = LAYERS) -> Prepared:
    images = sample_images(case.network, case.batch, seed=5)
    graph = quantise(case.network, images, data_bits=spec.data_bits)
    program = map_graph(graph, spec, batch=case.batch, options=options)
    inputs = [input_matrix(graph, case.network, image) for image in images]
    tensors = [execute(graph, x, lanes=spec.lanes) for x in inputs]
    queues = queue_lengths(program, tensors)
    return Prepared(
        program=program,
        inputs=inputs,
        tensors=tensors,
        queues=queues,
        timing=predict(program, queues),
    )


def expert_loads(program: Program, timing: Timing) -> Counter[tuple[str, int]]:
    """Return how often each part of an expert's weights is loaded, by node and part."""
    routed = {n.name for n in program.graph.nodes if isinstance(n, Product) and n.route}
    return Counter(
        (note.node, note.part)
        for i, (command, note) in enumerate(zip(program.commands, program.notes, strict=True))
        if command["unit"] == Unit.LOAD
        and command["buffer"] == Buffer.WEIGHT
        and note.node in routed
        and i not in timing.skipped
    )


def used_experts(prepared: Prepared) -> set[str]:
    """Return the products of experts that have tokens in some image."""
    return {
        n.name
        for n in prepared.program.graph.nodes
        if isinstance(n, Product)
        and n.route
        and any((values[n.route][:, n.expert] >= 0).any() for values in prepared.tensors)
    }


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("label", CASES)
def test_programs_have_no_races(name: str, label: str) -> None:
    assert check_program(prepare(SPECS[name], CASES[label]).program) == []


def test_places_stay_until_all_parts_were_lowered() -> None:
    """A part of the last image may come before one of the first, which still reads its tensor."""
    graph = prepare(SPECS["p2-int8"], CASES["odd tokens"]).program.graph
    lowering = BatchLowering(SPECS["p2-int8"], graph, options=LAYERS, images=2)
    name = graph.nodes[0].name
    (reader,) = lowering.graph.users(name)
    for image in range(2):
        lowering.places.image = image
        lowering.lower(graph.nodes[0])
    there = list(lowering.scratch.live[Buffer.INPUT])
    with lowering.keeping():
        for image in range(2):
            lowering.places.image = image
            lowering.release(name, reader.name)
            assert lowering.scratch.live[Buffer.INPUT] == there
    assert lowering.scratch.live[Buffer.INPUT] == []


@pytest.mark.parametrize("name", SPECS)
def test_queues_are_filled_by_all_images(name: str) -> None:
    """The first image's routing empties them; rows of the next begin where its own end."""
    case = CASES["odd tokens"]
    prepared = prepare(SPECS[name], case)
    commands = [
        (note.image, command)
        for command, note in prepared.program.of_unit(Unit.VECTOR)
        if command["op"] == VectorOp.ROUTE
    ]
    assert [image for image, _ in commands] == [0, 1, 2] * 2
    tokens, banks = commands[0][1]["tokens"], SPECS[name].tokens_per_beat
    for image, command in commands:
        assert command["append"] == (image > 0)
        assert command["dest_token"] == image * -(-tokens // banks) * banks
    for (image, command), lengths in zip(commands, prepared.queues, strict=True):
        assert np.sum(lengths) == (image + 1) * tokens * command["top"]


@pytest.mark.parametrize("name", SPECS)
def test_batches_are_exact(name: str, tmp_path: Path) -> None:
    spec, jobs, expected = SPECS[name], [], []
    for case in CASES.values():
        prepared = prepare(spec, case)
        for stall in STALLS:
            jobs.append(Job(program=prepared.program, inputs=prepared.inputs, stall=stall, seed=7))
            expected.append(prepared)
    logs, _ = simulate(jobs, tmp_path)
    for job, log, prepared in zip(jobs, logs, expected, strict=True):
        prepared.check(log, stall=job.stall)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("label", CASES)
def test_used_experts_are_loaded_once(name: str, label: str) -> None:
    case = CASES[label]
    prepared = prepare(SPECS[name], case)
    loads = expert_loads(prepared.program, prepared.timing)
    assert set(loads.values()) == {1}
    used = used_experts(prepared)
    assert used <= {node for node, _ in loads}
    # those of the first experts come before it is known who has tokens
    unused = {node for node, _ in loads} - used
    for i, command in enumerate(prepared.program.commands):
        if prepared.program.notes[i].node in unused and command["unit"] == Unit.LOAD:
            assert not command["expert"] or i in prepared.timing.skipped
    if case.late:
        first, *_, last = prepared.queues[: case.batch]
        assert any(not sum(a) and sum(b) for a, b in zip(first, last, strict=True))
    if case.all_to is not None:
        tokens = case.batch * prepared.program.graph["block0.gate"].tokens
        assert sum(prepared.queues[case.batch - 1][case.all_to]) == tokens
    # image by image they are loaded again: the count above would see it
    again = prepare(SPECS[name], case, IMAGES)
    assert max(expert_loads(again.program, again.timing).values()) > 1
    assert again.timing.bytes_read > prepared.timing.bytes_read


def test_all_weights_are_loaded_once_where_they_fit() -> None:
    """All but the input's, constants of the residual stream and commands come once."""
    prepared = prepare(replace(SPECS["p2-int8"], weight_lines=1024), CASES["odd tokens"])
    weights = [
        (note.node, note.part)
        for command, note in prepared.program.of_unit(Unit.LOAD)
        if command["buffer"] in (Buffer.WEIGHT, Buffer.PARAM, Buffer.NORM)
    ]
    counts = Counter(weights)
    products = [n for n in prepared.program.graph.nodes if isinstance(n, Product)]
    assert {counts[node.name, 0] for node in products} == {2}  # weights and parameters


@pytest.mark.parametrize("buffer", [Buffer.WEIGHT, Buffer.PARAM], ids=["weights", "parameters"])
def test_experts_of_later_images_are_loaded(buffer: Buffer) -> None:
    """Image by image, what was skipped for the first one is loaded for the next that needs it."""
    spec = replace(SPECS["p2-int8"], param_columns=1024)  # parameters stay on chip, if they came
    prepared = prepare(spec, CASES["late"], IMAGES)
    program, skipped = prepared.program, prepared.timing.skipped
    loaded: set[tuple[str, int]] = set()
    first_used = 0
    for i, (command, note) in enumerate(zip(program.commands, program.notes, strict=True)):
        if i in skipped:
            continue
        if command["unit"] == Unit.LOAD and command["buffer"] == buffer:
            loaded.add((note.node, note.part))
        if command["unit"] == Unit.STREAM and command.get("expert"):
            assert (note.node, note.part) in loaded, note
            first_used += note.image > 0
    assert first_used


def test_queues_that_cannot_hold_a_batch() -> None:
    spec = replace(SPECS["p2-int8"], psum_depth=16)
    case = CASES["odd tokens"]
    with pytest.raises(
        InputError,
        match="psum_depth must be at least 18 for 36 tokens, not 16",
    ):
        prepare(spec, case)
    prepared = prepare(spec, case, MapOptions())
    assert prepared.program.remarks == [
        "the batch runs one image at a time: psum_depth must be at least 18 for 36 tokens, not 16"
    ]
    assert max(expert_loads(prepared.program, prepared.timing).values()) == case.batch


def test_groups_of_a_batch(tmp_path: Path) -> None:
    """Four images on a machine that has room for two: experts are loaded once for each two."""
    spec = replace(SPECS["p2-int8"], psum_depth=16)
    case = replace(CASES["odd tokens"], batch=4)
    prepared = prepare(spec, case, MapOptions())
    assert check_program(prepared.program) == []
    assert prepared.program.remarks == [
        "the batch runs 2 images at a time: psum_depth must be at least 24 for 48 tokens, not 16"
    ]
    assert max(expert_loads(prepared.program, prepared.timing).values()) == 2
    (log,), _ = simulate([Job(program=prepared.program, inputs=prepared.inputs)], tmp_path)
    prepared.check(log, stall=0)


@pytest.mark.parametrize("form", ["prenorm", "pooled", "postnorm", "selected"])
def test_dense_networks_by_layers(form: str, tmp_path: Path) -> None:
    network = sample_network(form, tokens=9, depth=2)
    prepared = prepare(SPECS["p2-int8"], Case(network=network, batch=3))
    assert check_program(prepared.program) == []
    (log,), _ = simulate([Job(program=prepared.program, inputs=prepared.inputs)], tmp_path)
    prepared.check(log, stall=0)
    again = prepare(SPECS["p2-int8"], Case(network=network, batch=3), IMAGES)
    assert prepared.timing.bytes_read < again.timing.bytes_read


def test_a_wrong_length_of_a_queue_is_seen(tmp_path: Path) -> None:
    """Cycles follow the queues of all images together, not those of the last one."""
    prepared = prepare(SPECS["p2-int8"], CASES["odd tokens"])
    (log,), _ = simulate([Job(program=prepared.program, inputs=prepared.inputs)], tmp_path)
    alone = np.diff(np.array(prepared.queues), axis=0, prepend=0)
    alone[:: len(prepared.inputs)] = np.array(prepared.queues)[:: len(prepared.inputs)]
    wrong = predict(prepared.program, alone.tolist())
    assert compare_cycles(prepared.program, log, wrong) != ""
