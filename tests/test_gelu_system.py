"""Machines with the polynomial GELU: RTL equals models, cycles are those of the table form."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Ints
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, outputs, simulate

STALLS = (0.0, 0.5)
SPEC = AccelSpec(rows=8, columns=8, lanes=8, gelu="polynomial")


def quantised(form: str) -> tuple[Graph, Ints]:
    network = sample_network("prenorm", mlp=20)
    images = sample_images(network, 3)
    graph = quantise(network, images, gelu=form)
    return graph, input_matrix(graph, network, images[0])


def test_polynomial_machine_is_exact(tmp_path: Path) -> None:
    graph, x = quantised("polynomial")
    program = map_graph(graph, SPEC)
    tensors = execute(graph, x, lanes=SPEC.lanes)
    jobs = [Job(program=program, inputs=[x], stall=stall) for stall in STALLS]
    logs, _ = simulate(jobs, tmp_path)
    for log in logs:
        assert compare_tensors(program, log, [tensors]).first == ""
        np.testing.assert_array_equal(outputs(program, log)[0], tensors["head"])
    assert compare_cycles(program, logs[0], predict(program)) == ""


def test_forms_differ_in_bits_but_not_in_cycles() -> None:
    (table, x), (polynomial, _) = (quantised(form) for form in ("table", "polynomial"))
    cycles = [
        predict(map_graph(graph, replace(SPEC, gelu=graph.gelu))).cycles
        for graph in (table, polynomial)
    ]
    assert cycles[0] == cycles[1]
    hidden = [execute(graph, x, lanes=SPEC.lanes)["block0.fc1"] for graph in (table, polynomial)]
    assert (hidden[0] != hidden[1]).any()


@pytest.mark.parametrize(
    ("of_graph", "of_spec"), [("table", "polynomial"), ("polynomial", "table")]
)
def test_graph_of_the_other_form_is_refused(of_graph: str, of_spec: str) -> None:
    graph, _ = quantised(of_graph)
    message = f"^gelu must be {of_spec} as the accelerator's, not {of_graph}$"
    with pytest.raises(InputError, match=message):
        map_graph(graph, replace(SPEC, gelu=of_spec))
