"""Bytes that the array takes in attention, beat by beat, against how many columns it has.

For an array of 2 to 32 columns, in both orders of attention: what Edge-MoE's reordering is for
(arXiv 2305.18691, section on attention patch reordering). Bytes are counted on RTL: keys and values
as they enter the array, and the rows of queries (or probabilities) that meet them.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import ATTENTION, MapOptions
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_integer_accel
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Ints, Mix, Product
from moesaic.models.input_matrix import input_matrices
from moesaic.models.quantise import quantise
from moesaic.models.zoo import load_model
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.options import RunOptions
from moesaic.sim.system import Job, simulate

COLUMNS = (2, 4, 8, 16, 32)
"""One column would come back to a partial sum in the second cycle, which the lanes cannot."""


def measure_bandwidth(
    options: RunOptions, progress: Callable[[int, int, str], None] | None = None
) -> list[dict[str, Any]]:
    """Run a model's first attention on RTL with each number of columns, in both orders.

    Parameters
    ----------
    options : RunOptions
        Model, accelerator, task and seed.
    progress : callable, optional
        Called with machines done, machines in all, and the name of the next.

    Returns
    -------
    list of dict
        ``columns``, ``order``, ``cycles``, ``beats`` of attention, ``key_lines``, ``value_lines``,
        ``bytes`` that entered the array for them, ``bytes_per_beat``, and ``failures``.

    Raises
    ------
    InputError
        If the model has no attention that ends in the residual stream.
    """
    spec = load_integer_accel(options.accel)
    model = load_model(options.model, options.task)
    images, _ = model.images(1, options.seed)
    whole = quantise(model.network, model.calibration, data_bits=spec.data_bits, gelu=spec.gelu)
    graph = first_attention(whole)
    x = input_matrices(graph, model.network, images)[0]
    rows = []
    for number, columns in enumerate(COLUMNS):
        if progress:
            progress(number, len(COLUMNS), f"{columns} columns")
        rows += _measure(graph, x, with_columns(spec, columns))
    if progress:
        progress(len(COLUMNS), len(COLUMNS), "")
    return rows


def first_attention(graph: Graph) -> Graph:
    """Return the network up to where its first attention is added to the residual stream."""
    mixed = False
    for number, node in enumerate(graph.nodes):
        mixed = mixed or isinstance(node, Mix)
        if mixed and isinstance(node, Product) and node.epilogue == "add":
            return replace(graph, nodes=graph.nodes[: number + 1])
    raise InputError(f"{graph.name}: must have an attention that is added to a residual stream")


def with_columns(spec: AccelSpec, columns: int) -> AccelSpec:
    """Return the machine with another number of columns, and a bus that its lines can take."""
    bus = min(spec.bus_bytes, 8 * columns)
    return replace(spec, name=f"{spec.name}-{columns}", columns=columns, bus_bytes=bus)


def _measure(graph: Graph, x: Ints, spec: AccelSpec) -> list[dict[str, Any]]:
    """Return a row for each order of attention."""
    tensors = execute(graph, x, lanes=spec.lanes)
    programs = [map_graph(graph, spec, options=MapOptions(attention=name)) for name in ATTENTION]
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        logs, _ = simulate([Job(program=p, inputs=[x]) for p in programs], Path(folder))
    rows = []
    for order, program, log in zip(ATTENTION, programs, logs, strict=True):
        failures = [
            compare_tensors(program, log, [tensors]).first,
            compare_cycles(program, log, predict(program)),
        ]
        keys, values = log.key_lines * spec.rows, log.value_lines * spec.columns
        queries = log.kv_beats * spec.rows * spec.tokens_per_beat
        moved = (keys + values + queries) * spec.data_bytes
        rows.append(
            {
                "columns": spec.columns,
                "order": order,
                "cycles": log.cycles,
                "beats": log.kv_beats,
                "key_lines": log.key_lines,
                "value_lines": log.value_lines,
                "bytes": moved,
                "bytes_per_beat": moved / log.kv_beats,
                "failures": [text for text in failures if text],
            }
        )
    return rows
