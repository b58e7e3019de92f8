"""Choices of a mapping: results stay, and what they cost is seen on RTL."""

from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.check import check_program
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import ATTENTION, MapOptions
from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, simulate

TOKENS, HEADS, ROWS = 33, 3, 8


@pytest.mark.parametrize("columns", [2, 8])
def test_orders_of_attention(columns: int, tmp_path: Path) -> None:
    """Shared tiles of K and V enter the array once, in plain order once for each row of queries."""
    network = sample_network("prenorm", dim=24, heads=HEADS, tokens=TOKENS, mlp=8)
    images = sample_images(network, 3)
    graph = quantise(network, images)
    x = input_matrix(graph, network, images[0])
    spec = AccelSpec(
        rows=ROWS, columns=columns, lanes=8, bus_bytes=8, score_words=1024, kv_words=1024
    )
    programs = [map_graph(graph, spec, options=MapOptions(attention=name)) for name in ATTENTION]
    assert [check_program(program) for program in programs] == [[], []]
    logs, _ = simulate([Job(program=program, inputs=[x]) for program in programs], tmp_path)
    tensors = execute(graph, x, lanes=8)
    for program, log in zip(programs, logs, strict=True):
        assert compare_tensors(program, log, [tensors]).first == ""
        assert compare_cycles(program, log, predict(program)) == ""

    size = 24 // HEADS
    keys = -(-TOKENS // columns) * columns  # one line for each
    values = -(-TOKENS // ROWS) * ROWS * -(-size // columns)
    beats = -(-TOKENS // columns) + -(-TOKENS // ROWS) * -(-size // columns)
    shared, plain = logs
    assert (shared.key_lines, shared.value_lines) == (HEADS * keys, HEADS * values)
    assert plain.key_lines == TOKENS * shared.key_lines
    assert plain.value_lines == TOKENS * shared.value_lines
    assert shared.kv_beats == plain.kv_beats == HEADS * TOKENS * beats
    assert plain.cycles > shared.cycles


def test_unknown_orders_are_refused() -> None:
    with pytest.raises(InputError, match="attention must be one of shared, plain, not 'fast'"):
        MapOptions(attention="fast")
    with pytest.raises(InputError, match="experts must be one of by-expert, by-token, not 'all'"):
        MapOptions(experts="all")


def test_macs_of_rows_add_up() -> None:
    network = sample_network("prenorm")
    graph = quantise(network, sample_images(network, 2))
    spec = AccelSpec(rows=8, columns=8, lanes=8)
    macs = [
        sum(note.macs for note in map_graph(graph, spec, options=MapOptions(attention=a)).notes)
        for a in ATTENTION
    ]
    assert len(np.unique(macs)) == 1
