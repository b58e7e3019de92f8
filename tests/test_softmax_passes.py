"""Softmax of two and three passes on a whole machine: exact in bits and cycles."""

from pathlib import Path

import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit, VectorOp, encode
from moesaic.models.execute import execute
from moesaic.models.graph import Softmax
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.models.vector_timing import vector_cycles
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, outputs, simulate

SPEC = AccelSpec(
    rows=8,
    columns=8,
    lanes=4,
    tokens_per_beat=2,
    bus_bytes=8,
    score_words=1024,
    weight_lines=512,
    act_words=512,
)
NETWORK = sample_network("prenorm", tokens=21)
IMAGES = sample_images(NETWORK, 3)
STALLS = (0.0, 0.5)


def test_machine_is_exact(tmp_path: Path) -> None:
    jobs, expected = [], []
    for passes in (1, 2, 3):
        graph = quantise(NETWORK, IMAGES, softmax_passes=passes)
        program = map_graph(graph, SPEC)
        assert check_program(program) == []
        x = input_matrix(graph, NETWORK, IMAGES[0])
        for stall in STALLS:
            jobs.append(Job(program=program, inputs=[x], stall=stall, seed=3))
            expected.append(execute(graph, x, lanes=SPEC.lanes))
    logs, _ = simulate(jobs, tmp_path)
    cycles = []
    for job, log, tensors in zip(jobs, logs, expected, strict=True):
        program = job.program
        assert compare_tensors(program, log, [tensors]).first == ""
        assert (outputs(program, log)[0] == tensors[program.graph.nodes[-1].name]).all()
        if not job.stall:
            assert compare_cycles(program, log, predict(program)) == ""
            cycles.append(log.cycles)
    assert cycles[0] < cycles[1] < cycles[2]


@pytest.mark.parametrize("passes", [1, 2, 3])
def test_field_of_the_command(passes: int) -> None:
    """One pass is the zero that commands have without the field."""
    graph = quantise(NETWORK, IMAGES, softmax_passes=passes)
    nodes = [node for node in graph.nodes if isinstance(node, Softmax)]
    assert {node.softmax_passes for node in nodes} == {passes}
    commands = [c for c in map_graph(graph, SPEC).commands if c["unit"] == Unit.VECTOR]
    plain = [{k: v for k, v in c.items() if k != "passes"} for c in commands]
    for command, without in zip(commands, plain, strict=True):
        several = command["op"] == VectorOp.SOFTMAX and passes > 1
        assert command.get("passes", 0) == (passes if several else 0)
        assert (encode(command) == encode(without)) == (not several)


@pytest.mark.parametrize("tokens", [1, 40])
def test_each_pass_is_a_sweep(tokens: int) -> None:
    """Of many rows; a single row waits between its sums, and not between its two writings."""
    done = [
        vector_cycles(SPEC, VectorOp.SOFTMAX, tokens, 5, passes=passes)[1] for passes in range(4)
    ]
    assert done[0] == done[1]
    assert done[3] - done[2] == tokens * 5
    assert (done[2] - done[1] == tokens * 5) == (tokens > 1)
