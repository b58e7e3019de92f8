"""Random accelerators with random networks: RTL equals models to the bit and to the cycle."""

from pathlib import Path

import pytest

from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.program import Program
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import Unit
from moesaic.models.execute import execute
from moesaic.models.graph import Ints
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim import system
from moesaic.sim.campaign import run_config
from moesaic.sim.compare import compare_tensors
from moesaic.sim.system import HangError, Job, outputs, simulate

SEED = 1


@pytest.mark.parametrize("number", [0, 3])
def test_random_machine_is_exact(number: int, tmp_path: Path) -> None:
    spec, cases = run_config(number, SEED, 5, tmp_path)
    assert len(cases) == 15
    assert [f"{spec.name} {c.label} stall {c.stall}: {c.problem}" for c in cases if c.problem] == []


@pytest.mark.nightly
@pytest.mark.parametrize("number", range(30))
def test_campaign_is_exact(number: int, tmp_path: Path) -> None:
    spec, cases = run_config(number, SEED, 10, tmp_path)
    assert len(cases) == 30
    assert [f"{spec.name} {c.label} stall {c.stall}: {c.problem}" for c in cases if c.problem] == []


def small_program(spec: AccelSpec, batch: int = 1) -> tuple[Program, list[Ints]]:
    network = sample_network("prenorm")
    images = sample_images(network, 3)
    graph = quantise(network, images)
    return map_graph(graph, spec, batch=batch), [input_matrix(graph, network, i) for i in images]


@pytest.mark.xdist_group("tiny")
def test_batch_is_exact(tmp_path: Path) -> None:
    program, inputs = small_program(load_accel("tiny"), batch=3)
    (log,), _ = simulate([Job(program=program, inputs=inputs)], tmp_path)
    tensors = [execute(program.graph, x, lanes=8) for x in inputs]
    assert compare_tensors(program, log, tensors).first == ""
    for got, expected in zip(outputs(program, log), tensors, strict=True):
        assert (got == expected["head"]).all()


@pytest.mark.xdist_group("tiny")
def test_hang_names_the_unit_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, inputs = small_program(load_accel("tiny"))
    first = next(i for i, c in enumerate(program.commands) if c["unit"] == Unit.VECTOR)
    program.commands[first] |= {"wait_store": 1}  # of the only store, which comes after
    monkeypatch.setattr(system, "QUIET", 2000)
    with pytest.raises(HangError, match="vector: waits for other units"):
        simulate([Job(program=program, inputs=inputs[:1])], tmp_path)
