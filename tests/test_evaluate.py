"""dataflow.evaluate: the numbers of map_graph and predict, with mappings that are kept."""

import re
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from moesaic.dataflow.account import executed_macs, floor, layer_bytes, layer_cycles
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.evaluate import MAPPED, Evaluator, Workload, mapping_key
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import ATTENTION, BATCH, EXPERTS, STANDARD, MapOptions
from moesaic.dataflow.packing import Bytes, Data
from moesaic.dataflow.program import Program
from moesaic.dataflow.queues import queue_lengths, routes
from moesaic.models.accel import FIELD_NAMES, NM, AccelSpec, MemorySpec
from moesaic.models.accel_io import load_accel
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Product
from moesaic.models.input_matrix import input_matrices
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import FORMS, sample_images, sample_network
from moesaic.models.zoo import load_model
from moesaic.sim.campaign import fit, random_graph, random_spec

TINY = replace(load_accel("tiny"), experts=8)
TIMED = {"name", "outstanding", "burst_beats", "queue_depth", "arrays", "clock_hz", "memory"}
TIMED |= {"board", "product_words", "float_words", "loaded_words", "column_words", "sum_words"}


@cache
def sample(form: str) -> Workload:
    network = sample_network(form, depth=2, nm=NM(n=2, m=4), experts=8)
    images = sample_images(network, 3)
    graph = quantise(network, images)
    return Workload(graph=graph, inputs=list(input_matrices(graph, network, images)))


@cache
def sample_task(seed: int) -> Workload:
    network = sample_network("experts", depth=2, nm=NM(n=2, m=4), experts=8, seed=seed)
    images = sample_images(network, 3)
    graph = quantise(network, images)
    return Workload(graph=graph, inputs=list(input_matrices(graph, network, images)))


@cache
def shipped(name: str) -> Workload:
    model = load_model(name)
    graph = quantise(model.network, model.calibration)
    images, _ = model.images(2, 0)
    return Workload(graph=graph, inputs=list(input_matrices(graph, model.network, images)))


def mapping(workload: Workload, spec: AccelSpec, options: MapOptions, batch: int) -> Program | str:
    """Return the mapping, or why there is none."""
    try:
        return map_graph(workload.graph, spec, batch=batch, options=options)
    except InputError as error:
        return str(error)


def check(
    evaluator: Evaluator,
    workload: Workload,
    spec: AccelSpec,
    options: MapOptions = STANDARD,
    batch: int = 1,
) -> None:
    """Compare an evaluation with what map, predict and account say one by one."""
    program = mapping(workload, spec, options, batch)
    if isinstance(program, str):
        with pytest.raises(InputError, match=f"^{re.escape(program)}$"):
            evaluator.evaluate(spec, options, batch)
        return
    tensors = []
    if routes(program):
        tensors = [execute(workload.graph, x, lanes=spec.lanes) for x in workload.inputs[:batch]]
    timing = predict(program, queue_lengths(program, tensors))
    got = evaluator.evaluate(spec, options, batch, layers=True)
    assert (got.cycles, got.bytes_read, got.bytes_written) == (
        timing.cycles,
        timing.bytes_read,
        timing.bytes_written,
    )
    assert got.floor == floor(program, timing)
    assert got.peak_words == program.peak_words
    assert got.layers is not None
    macs, moved = executed_macs(program), layer_bytes(program, timing)
    spent = layer_cycles(program, timing.accepted, timing.done, timing.cycles)
    assert got.macs == sum(macs.values()) == sum(layer.macs for layer in got.layers.values())
    assert {name: layer.cycles for name, layer in got.layers.items()} == spent
    assert {n: (x.bytes_read, x.bytes_written) for n, x in got.layers.items()} == moved


@pytest.mark.parametrize("batch", [1, 2, 3], ids=lambda batch: f"batch{batch}")
@pytest.mark.parametrize("form", [*FORMS, "experts"])
def test_options_and_batches(form: str, batch: int) -> None:
    """All choices of a mapping, each on machines that share it and on one that is too small."""
    workload = sample(form)
    evaluator = Evaluator([workload])
    slow = replace(TINY, memory=MemorySpec(latency=100, bytes_per_cycle=1.3), queue_depth=2)
    for attention in ATTENTION:
        for experts in EXPERTS if form == "experts" else EXPERTS[:1]:
            for order in BATCH if batch > 1 else BATCH[:1]:
                options = MapOptions(attention=attention, experts=experts, batch=order)
                for spec in (TINY, slow, replace(TINY, act_words=8)):
                    check(evaluator, workload, spec, options, batch)


@pytest.mark.parametrize("number", range(12))
def test_random_machines(number: int) -> None:
    """Random networks on random machines, each with several memories behind it."""
    rng = np.random.default_rng([7, number])
    spec = random_spec(rng, number)
    graph, inputs = random_graph(rng, spec, int(rng.choice([1, 3, 10, 31])))
    batch = int(rng.integers(1, 4))
    spec, _ = fit([(graph, batch)], spec)
    workload = Workload(graph=graph, inputs=inputs)
    evaluator = Evaluator([workload])
    for _ in range(4):
        memory = MemorySpec(
            latency=int(rng.integers(4, 200)), bytes_per_cycle=float(rng.uniform(1, 70))
        )
        spec = replace(
            spec,
            memory=memory,
            outstanding=int(rng.choice([1, 2, 8])),
            burst_beats=int(rng.choice([1, 16, 256])),
            queue_depth=int(rng.choice([2, 8])),
        )
        check(evaluator, workload, spec, batch=batch)


@pytest.mark.parametrize("name", ["vit-mnist", "moevit-mnist"])
def test_shipped_networks(name: str) -> None:
    workload = shipped(name)
    evaluator = Evaluator([workload])
    others = (
        replace(TINY, bus_bytes=4),
        replace(TINY, burst_beats=4),
        replace(TINY, weight_lines=2048),
    )
    for spec in (TINY, *others):
        check(evaluator, workload, spec, batch=2)


def test_format_without_a_network_is_refused() -> None:
    wide = replace(TINY, data_bits=16, tokens_per_beat=1)
    with pytest.raises(InputError, match="data_bits must be 16 as the accelerator's, not 8"):
        Evaluator([sample("prenorm")]).evaluate(wide)
    with pytest.raises(ValueError, match="there is no workload ''"):
        Evaluator().evaluate(TINY)
    evaluator = Evaluator([sample("prenorm")])
    with pytest.raises(ValueError, match="workload '' is there already"):
        evaluator.add(sample("prenorm"))


def test_images_that_nobody_gave_are_refused() -> None:
    workload = sample("experts")
    evaluator = Evaluator([replace(workload, inputs=workload.inputs[:1])])
    with pytest.raises(InputError, match="batch must be at most 1, not 2"):
        evaluator.evaluate(TINY, batch=2)


class Recorder(AccelSpec):
    """An accelerator that notes which of its fields are read."""

    seen: set[str] = set()  # noqa: RUF012 - one for all, emptied by who reads it

    def __getattribute__(self, name: str) -> object:
        if name in FIELD_NAMES:
            Recorder.seen.add(name)
        return super().__getattribute__(name)


def fields_read(spec: AccelSpec, task: Callable[[AccelSpec], object]) -> set[str]:
    recorder = Recorder(**{name: getattr(spec, name) for name in FIELD_NAMES})
    Recorder.seen.clear()
    task(recorder)
    return set(Recorder.seen)


def test_keys_hold_what_mappings_depend_on() -> None:
    """No field that the mapper reads may be missing in the key, nor any be there in vain."""
    seen: set[str] = set()
    plain = replace(TINY, sparsity=(), index_lines=0)
    for form in (*FORMS, "experts"):
        graph = sample(form).graph
        for spec in (TINY, plain, replace(plain, weight_lines=64, act_words=64)):
            for batch in (1, 2):
                for attention in ATTENTION:
                    for experts in EXPERTS:
                        options = MapOptions(attention=attention, experts=experts)
                        task = partial(map_graph, graph, batch=batch, options=options)
                        seen |= fields_read(spec, task)
    assert seen == set(MAPPED)
    assert set(MAPPED) | TIMED == set(FIELD_NAMES)
    assert not set(MAPPED) & TIMED


def test_timing_reads_the_other_fields() -> None:
    """The recorder sees what it should."""
    program = map_graph(sample("prenorm").graph, TINY)
    seen = fields_read(TINY, lambda spec: predict(replace(program, spec=spec)))
    assert {"memory", "outstanding", "burst_beats", "queue_depth"} <= seen <= {*MAPPED, *TIMED}


def test_equal_keys_mean_equal_commands() -> None:
    graph = sample("experts").graph
    other = replace(
        TINY,
        name="other",
        outstanding=1,
        burst_beats=1,
        queue_depth=2,
        arrays="separate",
        clock_hz=1_000_000,
        memory=MemorySpec(latency=4, bytes_per_cycle=0.5),
    )
    assert mapping_key(other) == mapping_key(TINY)
    assert map_graph(graph, other).commands == map_graph(graph, TINY).commands


def test_mappings_are_kept_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last used ones stay; refusals count, too."""
    mapped = []

    def counted(graph: Graph, spec: AccelSpec, *, batch: int, options: MapOptions) -> Program:
        mapped.append(spec.kv_words)
        return map_graph(graph, spec, batch=batch, options=options)

    monkeypatch.setattr("moesaic.dataflow.evaluate.map_graph", counted)
    evaluator = Evaluator([sample("prenorm")], plans=2)

    def visit(kv_words: int, latency: int = 32) -> None:
        spec = replace(TINY, kv_words=kv_words, memory=MemorySpec(latency=latency))
        if kv_words < 16:
            with pytest.raises(InputError, match="kv_words must be at least"):
                evaluator.evaluate(spec)
        else:
            evaluator.evaluate(spec)

    for kv_words in (8, 512, 8, 512):
        visit(kv_words)
        visit(kv_words, latency=64)
    assert mapped == [8, 512]
    for kv_words in (8, 1024, 8, 512):
        visit(kv_words)
    assert mapped == [8, 512, 1024, 512]
    assert len(evaluator._plans) == 2


def test_tasks_of_one_form_share_a_mapping(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks that differ in numbers alone are mapped once, and each keeps its own routing."""
    mapped = []

    def counted(graph: Graph, spec: AccelSpec, *, batch: int, options: MapOptions) -> Program:
        mapped.append(graph)
        return map_graph(graph, spec, batch=batch, options=options)

    monkeypatch.setattr("moesaic.dataflow.evaluate.map_graph", counted)
    tasks = [replace(sample_task(seed), name=str(seed)) for seed in range(2)]
    evaluator = Evaluator(tasks)
    cycles = []
    for workload in tasks:
        program = map_graph(workload.graph, TINY)
        tensors = [execute(workload.graph, workload.inputs[0], lanes=TINY.lanes)]
        timing = predict(program, queue_lengths(program, tensors))
        cycles.append(timing.cycles)
        assert evaluator.evaluate(TINY, name=workload.name).cycles == timing.cycles
    assert len(mapped) == 1
    assert cycles[0] != cycles[1]


def test_networks_of_other_forms_are_mapped_on_their_own() -> None:
    """What makes a difference for a mapping makes another form."""
    evaluator = Evaluator()
    changes: list[dict[str, int]] = [{}, {"tokens": 13}, {"mlp": 24}, {"heads": 2}, {"top": 1}]
    for number, change in enumerate(changes):
        network = sample_network("experts", **change)  # type: ignore[arg-type]
        images = sample_images(network, 1)
        graph = quantise(network, images)
        inputs = list(input_matrices(graph, network, images))
        evaluator.add(Workload(name=str(number), graph=graph, inputs=inputs))
        program = map_graph(graph, TINY)
        tensors = [execute(graph, inputs[0], lanes=TINY.lanes)]
        timing = predict(program, queue_lengths(program, tensors))
        got = evaluator.evaluate(TINY, name=str(number))
        assert (got.cycles, got.bytes_read) == (timing.cycles, timing.bytes_read)
    assert len(evaluator._plans) == len(changes)


def test_sums_that_overflow_are_refused_in_their_own_name() -> None:
    """The form is the same, but one network's sums do not fit."""
    good = sample_task(0)
    nodes = list(good.graph.nodes)
    place = next(i for i, node in enumerate(nodes) if isinstance(node, Product))
    product = nodes[place]
    assert isinstance(product, Product)
    nodes[place] = replace(product, bias=product.bias + (1 << 40))
    bad = replace(good, name="bad", graph=replace(good.graph, nodes=tuple(nodes)))
    evaluator = Evaluator([good, bad])
    evaluator.evaluate(TINY)
    with pytest.raises(InputError, match=f"^{product.name}: sums must stay below"):
        evaluator.evaluate(TINY, name="bad")
    evaluator.evaluate(TINY)


def test_no_bytes_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither mapping nor timing makes bytes; the image does."""
    asked = []
    init = Data.__init__

    def watched(self: Data, size: int, make: Callable[[], Bytes]) -> None:
        def noted() -> Bytes:
            asked.append(size)
            return make()

        init(self, size, noted)

    monkeypatch.setattr(Data, "__init__", watched)
    workload = sample("experts")
    Evaluator([workload]).evaluate(TINY, layers=True)
    program = map_graph(workload.graph, TINY)
    assert asked == []
    assert len(program.image) == program.memory_bytes
    assert asked == [data.size for data in program.data]
    assert [len(data.make()) for data in program.data] == [data.size for data in program.data]
