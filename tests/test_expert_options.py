"""Experts token by token, and an array for each kind of product: same results, other costs."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.program import Program
from moesaic.dataflow.queues import queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import ARRAYS, Buffer, Unit
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Ints, Product
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, simulate

SPECS = {
    "p2": AccelSpec(
        rows=8, columns=8, lanes=8, tokens_per_beat=2, bus_bytes=8, experts=8, score_words=1024
    ),
    "p1": AccelSpec(rows=4, columns=8, lanes=4, bus_bytes=4, experts=8, score_words=1024),
}
BY_TOKEN = MapOptions(experts="by-token")


def prepared(spec: AccelSpec, options: MapOptions) -> tuple[Program, Ints, dict[str, Ints]]:
    """Return program, input and tensors of a network of eight experts, two for each token."""
    network = sample_network("experts", experts=8, top=2, tokens=9, depth=2, mlp=20, seed=3)
    images = sample_images(network, 3)
    graph = quantise(network, images, data_bits=spec.data_bits)
    x = input_matrix(graph, network, images[0])
    return map_graph(graph, spec, options=options), x, execute(graph, x, lanes=spec.lanes)


@pytest.mark.parametrize("name", SPECS)
def test_token_by_token(name: str, tmp_path: Path) -> None:
    spec = SPECS[name]
    program, x, tensors = prepared(spec, BY_TOKEN)
    assert check_program(program) == []
    queues = queue_lengths(program, [tensors])
    if spec.tokens_per_beat == 2:  # an expert of whom bank 0 knows nothing
        assert any(first == 0 < second for lengths in queues for first, second in lengths)
    jobs = [Job(program=program, inputs=[x], stall=stall, seed=5) for stall in (0.0, 0.5)]
    logs, _ = simulate(jobs, tmp_path)
    for log in logs:
        assert compare_tensors(program, log, [tensors]).first == ""
    timing = predict(program, queues)
    assert compare_cycles(program, logs[0], timing) == ""

    # every token that goes to an expert has that expert's weights loaded for it
    loaded = [
        i
        for i, command in enumerate(program.commands)
        if command.get("expert") and command.get("buffer") == Buffer.WEIGHT
    ]
    products = [node for node in program.graph.nodes if isinstance(node, Product) and node.route]
    parts = {(program.notes[i].node, program.notes[i].part) for i in loaded}
    routes = list(dict.fromkeys(node.route for node in products))
    tokens = {
        node.name: int(np.sum(queues[routes.index(node.route)][node.expert])) for node in products
    }
    wanted = sum(tokens[node] for node, _ in parts)
    assert sum(i not in timing.skipped for i in loaded) == wanted
    by_expert, _, _ = prepared(spec, MapOptions())
    assert timing.cycles > predict(by_expert, queues).cycles


@pytest.mark.parametrize("name", SPECS)
def test_separate_arrays(name: str, tmp_path: Path) -> None:
    spec = replace(SPECS[name], arrays="separate")
    program, x, tensors = prepared(spec, MapOptions())
    (log,), _ = simulate([Job(program=program, inputs=[x])], tmp_path)
    assert compare_tensors(program, log, [tensors]).first == ""
    queues = queue_lengths(program, [tensors])
    assert compare_cycles(program, log, predict(program, queues)) == ""
    for command, note in program.of_unit(Unit.STREAM):
        node = program.graph[note.node]
        kind = "attention"
        if isinstance(node, Product):
            kind = "expert" if node.route else "linear"
        assert ARRAYS[command["array"]] == kind


def test_unknown_arrays_are_refused() -> None:
    with pytest.raises(InputError, match="arrays must be one of unified, separate, not 'three'"):
        replace(SPECS["p1"], arrays="three")
