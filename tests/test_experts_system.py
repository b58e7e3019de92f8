"""Mixtures of experts on whole machines: edges of routing, exact in bits and cycles."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.queues import queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.input_matrix import input_matrix
from moesaic.models.network import Floats, Gate, Layer, Network, Norm
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, outputs, simulate

STALLS = (0.0, 0.5, 0.9)
SPECS = {
    "p2-int8": AccelSpec(
        rows=8,
        columns=8,
        lanes=8,
        tokens_per_beat=2,
        bus_bytes=8,
        experts=64,
        score_words=1024,
        weight_lines=512,
        act_words=512,
    ),
    "p1-int16": AccelSpec(
        rows=4,
        columns=8,
        lanes=4,
        data_bits=16,
        bus_bytes=8,
        experts=16,
        score_words=4096,
        act_words=2048,
        vec_words=2048,
        kv_words=2048,
        residual_words=2048,
    ),
}


def with_gate(network: Network, change: Callable[[Floats], Floats], *, same: bool) -> Network:
    """Return the network with other gate weights; with `same`, all tokens look alike to them."""
    layers: list[Layer] = []
    for layer in network.layers:
        match layer:
            case Gate():
                layers.append(replace(layer, weight=change(layer.weight).astype(np.float32)))
            case Norm(name="block0.norm2") if same:
                layers.append(replace(layer, gain=0.01 * layer.gain, offset=1 + layer.offset))
            case _:
                layers.append(layer)
    return replace(network, layers=tuple(layers))


def favour(expert: int) -> Callable[[Floats], Floats]:
    """Return a change that makes one expert's logit the largest of all."""

    def change(weight: Floats) -> Floats:
        weight = 0.1 * weight
        weight[:, expert] += 0.2
        return weight

    return change


def twins(weight: Floats) -> Floats:
    """Make each two experts alike, so that every token ties."""
    return np.repeat(weight[:, ::2], 2, axis=1)[:, : weight.shape[1]]


CASES: dict[str, tuple[Network, tuple[int, ...] | None]] = {
    "2 tokens, 2 experts": (sample_network("experts", experts=2, top=1, tokens=2), None),
    "all to one": (
        with_gate(
            sample_network("experts", experts=5, top=1, tokens=21, seed=1), favour(3), same=True
        ),
        (0, 0, 0, 21, 0),
    ),
    "all to the first two of twins": (
        with_gate(
            sample_network("experts", experts=4, top=2, tokens=17, seed=2),
            lambda w: twins(favour(0)(w)),
            same=True,
        ),
        (17, 17, 0, 0),
    ),
    "ties": (
        with_gate(
            sample_network("experts", experts=8, top=1, tokens=33, seed=3), twins, same=False
        ),
        None,
    ),
    "top 3 of 4": (sample_network("experts", experts=4, top=3, tokens=10, seed=4), None),
    "top 4 of 16": (
        sample_network("experts", experts=16, top=4, tokens=31, seed=5, depth=2, mlp=36),
        None,
    ),
    "top 2 of 64": (sample_network("experts", experts=64, top=2, tokens=9, seed=6), None),
}


@pytest.mark.parametrize("name", SPECS)
def test_edges_of_routing(name: str, tmp_path: Path) -> None:
    spec, jobs, expected = SPECS[name], [], []
    cases = {k: v for k, v in CASES.items() if spec.experts == 64 or "64" not in k}
    for network, lengths in cases.values():
        images = sample_images(network, 3)
        graph = quantise(network, images, data_bits=spec.data_bits)
        program = map_graph(graph, spec)
        assert check_program(program) == []
        x = input_matrix(graph, network, images[0])
        tensors = execute(graph, x, lanes=spec.lanes)
        queues = queue_lengths(program, [tensors])
        if lengths is not None:
            assert [sum(banks) for banks in queues[0]] == list(lengths)
        for stall in STALLS:
            jobs.append(Job(program=program, inputs=[x], stall=stall, seed=7))
            expected.append((tensors, queues))
    logs, _ = simulate(jobs, tmp_path)
    labels = [f"{case} stall {stall}" for case in cases for stall in STALLS]
    for label, job, log, (tensors, queues) in zip(labels, jobs, logs, expected, strict=True):
        program = job.program
        assert compare_tensors(program, log, [tensors]).first == "", label
        result = tensors[program.graph.nodes[-1].name]
        assert (outputs(program, log)[0] == result).all(), label
        if not job.stall:
            assert compare_cycles(program, log, predict(program, queues)) == "", label


def test_images_of_a_batch_route_apart(tmp_path: Path) -> None:
    spec = SPECS["p2-int8"]
    network, _ = CASES["top 3 of 4"]
    images = sample_images(network, 3)
    graph = quantise(network, images)
    program = map_graph(graph, spec, batch=3, options=MapOptions(batch="images"))
    inputs = [input_matrix(graph, network, image) for image in images]
    tensors = [execute(graph, x, lanes=spec.lanes) for x in inputs]
    queues = queue_lengths(program, tensors)
    assert len({str(lengths) for lengths in queues}) == 3
    (log,), _ = simulate([Job(program=program, inputs=inputs)], tmp_path)
    assert compare_tensors(program, log, tensors).first == ""
    assert compare_cycles(program, log, predict(program, queues)) == ""
    wrong = predict(program, [queues[1], queues[0], queues[2]])
    assert compare_cycles(program, log, wrong) != ""


def test_machines_without_room_for_the_experts() -> None:
    network, _ = CASES["top 4 of 16"]
    graph = quantise(network, sample_images(network, 2))
    for experts in (0, 8):
        with pytest.raises(
            InputError,
            match=rf"experts must be at least 16 for block0.gate, not {experts}",
        ):
            map_graph(graph, replace(SPECS["p2-int8"], experts=experts))
