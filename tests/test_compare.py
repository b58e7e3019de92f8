"""The comparison sees every field of every record: one changed value is one layer that differs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.program import Program
from moesaic.models.accel_io import load_accel
from moesaic.models.execute import execute
from moesaic.models.graph import Ints
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.compare import compare_tensors
from moesaic.sim.system import Job, RunLog, simulate

Run = tuple[Program, RunLog, dict[str, Ints]]
FIELDS = {
    "array": ("valid", "dest", "word", "slice", "narrow", "wide"),
    "vector": ("buffer", "bank", "word", "sub", "narrow"),
    "rowstat": ("bank", "row", "multiplier", "shift"),
    "load": ("line", "data"),
}
pytestmark = pytest.mark.xdist_group("tiny")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    network = sample_network("prenorm")
    images = sample_images(network, 3)
    graph = quantise(network, images)
    program = map_graph(graph, load_accel("tiny"))
    x = input_matrix(graph, network, images[0])
    (log,), _ = simulate([Job(program=program, inputs=[x])], tmp_path_factory.mktemp("run"))
    return program, log, execute(graph, x, lanes=8)


def test_untouched_log_is_equal(run: Run) -> None:
    program, log, tensors = run
    assert compare_tensors(program, log, [tensors]).first == ""


@pytest.mark.parametrize(("name", "field"), [(n, f) for n, fs in FIELDS.items() for f in fs])
def test_one_changed_value_is_seen(run: Run, name: str, field: str) -> None:
    program, log, tensors = run
    records = getattr(log, name).copy()
    # narrow and wide are two views of one result, of which the destination takes one
    wanted = records["dest"] < 9 if field == "narrow" and name == "array" else slice(None)
    wanted = records["dest"] >= 9 if field == "wide" else wanted
    place = np.arange(len(records))[wanted][0]
    records[field][place] = records[field][place] ^ 1
    changes: dict[str, Any] = {name: records}
    changed = replace(log, **changes)
    assert compare_tensors(program, changed, [tensors]).mismatches == 1


@pytest.mark.parametrize("name", FIELDS)
def test_lost_and_surplus_records_are_seen(run: Run, name: str) -> None:
    program, log, tensors = run
    records = getattr(log, name)
    less: dict[str, Any] = {name: records[:-1]}
    assert compare_tensors(program, replace(log, **less), [tensors]).mismatches
    if name != "load":  # one kind of load is logged for every constant
        more: dict[str, Any] = {name: np.concatenate([records, records[-1:]])}
        assert compare_tensors(program, replace(log, **more), [tensors]).mismatches
