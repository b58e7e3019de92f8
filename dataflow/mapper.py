"""The mapper: graph and accelerator in, program out. The stages of a mapping on one page."""

from dataclasses import replace

import numpy as np

from moesaic.dataflow.by_token import by_token
from moesaic.dataflow.choices import Freedoms
from moesaic.dataflow.lower import Lowering
from moesaic.dataflow.lower_batch import BatchLowering
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.dataflow.packing import pack_tokens
from moesaic.dataflow.program import Program
from moesaic.dataflow.schedule import ALIGN, Schedule
from moesaic.dataflow.scratch import Place
from moesaic.dataflow.steps import Step
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Unit
from moesaic.models.errors import InputError
from moesaic.models.geometry import geometry, narrow_word
from moesaic.models.graph import Graph, Input, Ints


def map_graph(
    graph: Graph, spec: AccelSpec, *, batch: int = 1, options: MapOptions = STANDARD
) -> Program:
    """Map a network onto an accelerator.

    Parameters
    ----------
    graph : Graph
    spec : AccelSpec
    batch : int
        Images of one run, in one command stream.
    options : MapOptions

    Returns
    -------
    Program
        Memory: inputs, outputs, weights and constants, commands, in this order.

    Raises
    ------
    InputError
        If formats differ or a buffer is too small; the line names its parameter.
    """
    if graph.data_bits != spec.data_bits:
        raise InputError(
            f"data_bits must be {spec.data_bits} as the accelerator's, not {graph.data_bits}"
        )
    if graph.gelu != spec.gelu:
        raise InputError(f"gelu must be {spec.gelu} as the accelerator's, not {graph.gelu}")
    source = graph.nodes[0]
    if not isinstance(source, Input):
        raise InputError(f"{graph.name}: the first node must be the input, not {source.name}")

    lowering, steps = _lower(graph, spec, batch, options)
    input_place = _input_place(lowering, steps, source)
    output_place = lowering.places[graph.nodes[-1].name]

    input_bytes = _aligned(_tokens_bytes(spec, input_place))
    output_bytes = _aligned(_tokens_bytes(spec, output_place))
    inputs = [i * input_bytes for i in range(batch)]
    outputs = [batch * input_bytes + i * output_bytes for i in range(batch)]
    data_address = batch * (input_bytes + output_bytes)

    schedule = Schedule(spec, data_address=data_address, lag=options.lag)
    for step in steps:
        for fetch in step.fetches:
            if fetch.data is None:
                fetch.address = inputs[step.image]
        for work in step.works:
            if work.unit == Unit.STORE:
                work.fields["address"] = outputs[step.image]
    schedule.run(steps)
    program_address = schedule.finish()
    return Program(
        spec=spec,
        graph=graph,
        unwaited=schedule.commands,
        waits=schedule.board.waits(),
        notes=schedule.notes,
        data=schedule.addresses,
        program_address=program_address,
        input_addresses=inputs,
        output_addresses=outputs,
        input_place=input_place,
        output_place=output_place,
        channels=lowering.channels,
        remarks=lowering.notes,
        peak_words={b.name.lower(): words for b, words in lowering.scratch.peak.items()},
    )


def freedoms(
    graph: Graph, spec: AccelSpec, *, batch: int = 1, options: MapOptions = STANDARD
) -> Freedoms:
    """Return the choices that a mapping leaves, by layer, with those of `options` as chosen.

    Raises what :func:`map_graph` raises.
    """
    lowering, _ = _lower(graph, spec, batch, options)
    return lowering.choices.freedoms


def input_bytes(program: Program, x: Ints) -> np.ndarray:
    """Return an input matrix (tokens, channels) as the bytes that belong at its address."""
    spec, place = program.spec, program.input_place
    word = narrow_word(spec, place.buffer)
    image = pack_tokens(x, spec=spec, word=word, value_bytes=spec.data_bytes)
    if place.pitch > 1:
        return image
    beats = -(-place.width * spec.data_bytes // spec.bus_bytes)
    rows = image.reshape(place.rows * spec.tokens_per_beat, word * spec.data_bytes)
    return rows[:, : beats * spec.bus_bytes].reshape(-1)


def read_output(program: Program, memory: np.ndarray, image: int) -> Ints:
    """Return the result (tokens, channels) of one image from the memory's bytes."""
    spec, place = program.spec, program.output_place
    start = program.output_addresses[image]
    raw = memory[start : start + _tokens_bytes(spec, place)]
    values = raw.view(f"<i{spec.wide_bytes}").astype(np.int64)
    shape = (place.rows, place.pitch, spec.tokens_per_beat, spec.wide_word)
    tokens = (
        values.reshape(shape).transpose(0, 2, 1, 3).reshape(place.rows * spec.tokens_per_beat, -1)
    )
    node = program.graph.nodes[-1]
    return tokens[: node.tokens, place.channels[: node.channels]]


def _input_place(lowering: Lowering, steps: list[Step], node: Input) -> Place:
    """Return where the input lies, although its place is free again by now."""
    fetch = steps[0].fetches[0]
    pitch = -(-node.channels // lowering.spec.act_word)
    return Place(
        buffer=fetch.buffer,
        base=int(fetch.base or 0),
        pitch=pitch,
        rows=-(-node.tokens // lowering.spec.tokens_per_beat),
        width=node.channels,
        channels=np.arange(node.channels),
    )


def _tokens_bytes(spec: AccelSpec, place: Place) -> int:
    return place.rows * place.pitch * geometry(spec, place.buffer).width // 8


def _aligned(size: int) -> int:
    return -(-size // ALIGN) * ALIGN


def _lower(
    graph: Graph, spec: AccelSpec, batch: int, options: MapOptions
) -> tuple[Lowering, list[Step]]:
    """Lower a batch by layers, at once or in the largest equal groups that fit; else by images."""
    refused = ""
    layers = options.batch != "images" and options.experts == "by-expert"
    sizes = [n for n in range(batch, 0, -1) if n == 1 or (layers and batch % n == 0)]
    if options.images:
        if batch % options.images:
            raise InputError(f"images must divide the batch of {batch}, not {options.images}")
        sizes = [options.images]
    for size in sizes:
        kind = BatchLowering if size > 1 else Lowering
        lowering = kind(spec, graph, options=options, images=size)
        try:
            steps = lowering.run()
            lowering.choices.check(node.name for node in graph.nodes)
            break
        except InputError as error:
            if size == sizes[-1] or options.batch == "layers":
                raise
            refused = refused or str(error)
    if options.experts == "by-token":
        steps = by_token(steps, tokens_per_beat=spec.tokens_per_beat)
    if refused:
        images = f"{size} images" if size > 1 else "one image"
        lowering.notes.append(f"the batch runs {images} at a time: {refused}")
    again = [_clone(step, first) for first in range(size, batch, size) for step in steps]
    return lowering, steps + again


def _clone(step: Step, first: int) -> Step:
    """Return a step for a group of images that begins with `first`: the same data, own commands."""
    works = [replace(work, fields=dict(work.fields)) for work in step.works]
    fetches = [replace(fetch) for fetch in step.fetches]
    return replace(step, image=step.image + first, works=works, fetches=fetches)
