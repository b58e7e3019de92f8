"""Cycles of layers: every cycle to one node, by what is at work in it."""

from dataclasses import replace

import pytest

from moesaic.dataflow.account import executed_macs, floor, layer_bytes, layer_cycles
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.program import Program
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import Unit
from moesaic.models.graph import Constant, Input
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import FORMS, sample_images, sample_network


def program_of(form: str) -> Program:
    network = sample_network(form, depth=2)
    return map_graph(quantise(network, sample_images(network, 3)), load_accel("tiny"), batch=2)


def slow_layer_cycles(
    program: Program, accepted: list[int], done: list[int], cycles: int
) -> dict[str, int]:
    """Go through the cycles one by one, from the last to the first."""
    fetched = {n.name for n in program.graph.nodes if isinstance(n, Input | Constant)}
    spent = {node.name: 0 for node in program.graph.nodes}
    at_work: dict[Unit, list[tuple[int, int, str]]] = {}
    for command, note, start, end in zip(
        program.commands, program.notes, accepted, done, strict=True
    ):
        if command["unit"] != Unit.LOAD or note.node in fetched:
            at_work.setdefault(Unit(command["unit"]), []).append((start, end, note.node))
    following = program.graph.nodes[-1].name
    for cycle in reversed(range(cycles)):
        for unit in (Unit.STREAM, Unit.VECTOR, Unit.STORE, Unit.LOAD):
            owner = next((n for s, e, n in at_work.get(unit, []) if s <= cycle <= e), None)
            if owner is not None:
                following = owner
                break
        spent[following] += 1
    return spent


@pytest.mark.parametrize("form", FORMS)
def test_every_cycle_has_one_owner(form: str) -> None:
    program = program_of(form)
    timing = predict(program)
    spent = layer_cycles(program, timing.accepted, timing.done, timing.cycles)
    assert sum(spent.values()) == timing.cycles
    assert spent == slow_layer_cycles(program, timing.accepted, timing.done, timing.cycles)


def test_floor_and_sums() -> None:
    program = program_of("prenorm")
    timing = predict(program)
    low = floor(program, timing)
    assert low.max <= timing.cycles
    assert low.compute == -(-sum(executed_macs(program).values()) // 64)
    block_bytes = (
        sum(
            c["rows"] * c["row_beats"] * 8
            for c, n in zip(program.commands, program.notes, strict=True)
            if c["unit"] == Unit.LOAD and n.node == "program"
        )
        + 16 * 64
    )
    moved = layer_bytes(program, timing)
    assert sum(read for read, _ in moved.values()) + block_bytes == timing.bytes_read
    assert sum(written for _, written in moved.values()) == timing.bytes_written


def test_loads_for_experts_without_tokens_count_nothing() -> None:
    """Of eight experts, those of odd number get all tokens; the ring holds the first one or two."""
    network = sample_network("experts", experts=8, top=2, tokens=20, dim=24, mlp=40)
    graph = quantise(network, sample_images(network, 2))
    program = map_graph(graph, replace(load_accel("tiny"), weight_lines=256))
    everywhere = predict(program, [[[5]] * 8])
    timing = predict(program, [[[5 * (expert % 2)] for expert in range(8)]])
    assert not everywhere.skipped
    lost = {
        place
        for place, command in enumerate(program.commands)
        if command.get("expert", 0) and command["expert"] % 2 == 1
    }
    assert timing.skipped == lost
    moved, all_moved = layer_bytes(program, timing), layer_bytes(program, everywhere)
    for name, (read, _) in moved.items():
        before = all_moved[name][0]
        assert read in (before, 0)
        assert (read < before) <= ("experts" in name)
    total = sum(read for read, _ in all_moved.values()) - sum(read for read, _ in moved.values())
    assert total == everywhere.bytes_read - timing.bytes_read > 0
