"""Small networks on small machines, and their mappings one by one."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from typing import Any

from moesaic.dataflow.choices import Freedoms, LayerChoice
from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import freedoms, map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.queues import queue_lengths
from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Ints
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network

TINY = load_accel("tiny")
SPECS = {
    "tiny": TINY,
    "two-tokens": replace(TINY, tokens_per_beat=2, block_commands=4, queue_depth=2),
    # a ring that holds a few tiles, behind a slow memory
    "small-rings": replace(
        TINY,
        sparsity=(),
        index_lines=0,
        weight_lines=128,
        param_columns=32,
        norm_words=8,
        memory=replace(TINY.memory, bytes_per_cycle=1.5),
    ),
}
PLAIN = ("tiles", "rows", "order", "heads", "slots", "values", "early")
"""Knobs with few values."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network with inputs for a batch, and what decides its cycles."""

    graph: Graph
    inputs: tuple[Ints, ...]

    def cycles(self, spec: AccelSpec, options: MapOptions, batch: int = 1) -> int:
        """Map and predict, with nothing kept from one mapping to the next."""
        program = map_graph(self.graph, spec, batch=batch, options=options)
        tensors = [execute(self.graph, x, lanes=spec.lanes) for x in self.inputs[:batch]]
        return predict(program, queue_lengths(program, tensors)).cycles

    def counted(self, spec: AccelSpec) -> Callable[[MapOptions], int]:
        """Return the cycles of mappings, executing the network once."""
        tensors = [execute(self.graph, self.inputs[0], lanes=spec.lanes)]

        def cycles(options: MapOptions) -> int:
            program = map_graph(self.graph, spec, options=options)
            return predict(program, queue_lengths(program, tensors)).cycles

        return cycles


@cache
def network(form: str, tokens: int = 7) -> Network:
    """Return a small network of a form."""
    made = sample_network(form, dim=24, heads=3, mlp=40, tokens=tokens, experts=4, top=2)
    images = sample_images(made, 3)
    graph = quantise(made, images)
    return Network(graph=graph, inputs=tuple(input_matrix(graph, made, image) for image in images))


def choices(form: str, spec: AccelSpec, knobs: Iterable[str] = PLAIN) -> Freedoms:
    """Return the choices of a small network that are among the knobs."""
    wanted = set(knobs)
    asked = freedoms(network(form).graph, spec)
    return {
        name: {knob: freedom for knob, freedom in its.items() if knob in wanted}
        for name, its in asked.items()
        if wanted & set(its)
    }


def all_mappings(there: Freedoms) -> Iterator[MapOptions]:
    """Yield every mapping that the choices allow, whether it fits or not."""
    places = [(name, knob, f.allowed) for name, its in there.items() for knob, f in its.items()]
    for values in product(*(allowed for _, _, allowed in places)):
        layers: dict[str, dict[str, Any]] = {}
        for (name, knob, _), value in zip(places, values, strict=True):
            layers.setdefault(name, {})[knob] = value
        yield MapOptions(layers=tuple((n, LayerChoice(**its)) for n, its in layers.items()))


def fewest(cycles: Callable[[MapOptions], int], there: Freedoms) -> int:
    """Return the fewest cycles of all mappings that fit."""
    best = cycles(MapOptions())
    for options in all_mappings(there):
        try:
            best = min(best, cycles(options))
        except InputError:
            continue
    return best
