"""How the cycle model's own time and memory grow with tokens, layers and experts.

``python -m moesaic.reports.growth --out runs/growth.html`` maps and predicts networks of all sizes
on a machine that is as large as each needs, larger than any that may be built.
"""

import argparse
import time
import tracemalloc
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects as go

from moesaic.dataflow.cycles import predict
from moesaic.dataflow.evaluate import without_collection
from moesaic.dataflow.mapper import map_graph
from moesaic.models.accel import AccelSpec
from moesaic.models.graph import Constant, Graph, LayerNorm, Node, Route, Scale, Scores, Softmax
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network

SMALL = 10  # tokens of the networks that are quantised; their graphs are then made longer
SWEEPS = {
    "tokens": (64, 256, 1024, 4096, 16384),
    "layers": (1, 2, 4, 8, 16, 32, 48),
    "experts": (0, 2, 4, 8, 16, 32, 64),
}
USUAL = {"tokens": 256, "layers": 2, "experts": 8}
REPEATS = 3
TOP = 2  # experts of a token
WORDS = 1 << 40  # of each scratchpad


@dataclass(frozen=True, slots=True, kw_only=True)
class Boundless(AccelSpec):
    """An accelerator of any size: nothing is refused."""

    def __post_init__(self) -> None:
        """Take all values as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What the cycle model took for one network: milliseconds of the processor, and bytes."""

    tokens: int
    layers: int
    experts: int
    commands: int
    cycles: int
    map_ms: float
    predict_ms: float
    peak_bytes: int


def machine() -> AccelSpec:
    """Return a machine of 16 x 16 x 2 that has room for everything but weights."""
    rooms = ("input", "act", "vec", "kv", "score", "residual")
    sizes: dict[str, Any] = {f"{name}_words": WORDS for name in rooms}
    return Boundless(
        rows=16,
        columns=16,
        lanes=16,
        tokens_per_beat=2,
        bus_bytes=16,
        experts=64,
        psum_depth=WORDS,
        rowstat_rows=WORDS,
        **sizes,
    )


def network(tokens: int, layers: int, experts: int) -> Graph:
    """Return a network of so many tokens; only its shapes and weights mean something."""
    form = "experts" if experts else "selected"
    float_network = sample_network(
        form,
        dim=48,
        heads=3,
        mlp=96,
        depth=layers,
        tokens=SMALL,
        experts=experts or 2,
        top=min(TOP, experts or 1),
    )
    graph = quantise(float_network, sample_images(float_network, 1))
    return replace(graph, nodes=tuple(_longer(node, tokens) for node in graph.nodes))


def _longer(node: Node, tokens: int) -> Node:
    if node.tokens < SMALL - 1:  # of the class token alone
        return node
    now = tokens - (SMALL - node.tokens)
    changes: dict[str, Any] = {"tokens": now}
    if isinstance(node, Constant):
        changes["value"] = np.zeros((now, node.channels), dtype=np.int64)
    if isinstance(node, Scores | Softmax):
        changes["channels"] = now
    if isinstance(node, LayerNorm | Scale) and node.first_token:
        changes["first_token"] = tokens - 1
    return replace(node, **changes)


def even_queues(graph: Graph, banks: int) -> list[list[list[int]]]:
    """Return queue lengths of gates that send as many tokens to each expert."""
    return [
        [[max(1, node.tokens * node.top // node.channels // banks)] * banks] * node.channels
        for node in graph.nodes
        if isinstance(node, Route)
    ]


def measure(tokens: int, layers: int, experts: int) -> Cost:
    """Map and predict one network: once for its memory, then for its time, the least of three."""
    spec, graph = machine(), network(tokens, layers, experts)
    queues = even_queues(graph, spec.tokens_per_beat)
    tracemalloc.start()
    timing = predict(map_graph(graph, spec), queues)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    times = []
    for _ in range(REPEATS):
        with without_collection():
            start = time.process_time()
            program = map_graph(graph, spec)
            mapped = time.process_time()
            predict(program, queues)
            times.append((mapped - start, time.process_time() - mapped))
    return Cost(
        tokens=tokens,
        layers=layers,
        experts=experts,
        commands=len(program.commands),
        cycles=timing.cycles,
        map_ms=1e3 * min(mapping for mapping, _ in times),
        predict_ms=1e3 * min(prediction for _, prediction in times),
        peak_bytes=peak,
    )


def sweep(name: str, values: Sequence[int]) -> list[Cost]:
    """Measure along one axis, the others as usual."""
    return [measure(**{**USUAL, name: value}) for value in values]


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Return the exponent by least squares over the larger half: 1 is linear, 0 constant."""
    half = len(x) // 2
    return float(np.polyfit(np.log(x[half:]), np.log(y[half:]), 1)[0])


def page(costs: dict[str, list[Cost]]) -> str:
    """Return a page of charts, one for each axis, in one file."""
    parts: list[str] = []
    for name, rows in costs.items():
        figure = go.Figure(layout={"title": f"Cycle model against {name}"})
        x = [getattr(row, name) for row in rows]
        for title, values in (
            ("mapping, ms", [row.map_ms for row in rows]),
            ("prediction, ms", [row.predict_ms for row in rows]),
            ("peak memory, MB", [row.peak_bytes / 1e6 for row in rows]),
        ):
            figure.add_scatter(x=x, y=values, name=title, mode="lines+markers")
        figure.update_xaxes(title=name, type="log" if min(x) else "linear")
        figure.update_yaxes(type="log")
        parts.append(figure.to_html(full_html=False, include_plotlyjs=not parts))
    title = "Growth of the cycle model"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
        f"<h1>{title}</h1>{''.join(parts)}</html>\n"
    )


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--axis", choices=SWEEPS, action="append", help="default: all")
    parser.add_argument("--out", type=Path, help="page of charts")
    args = parser.parse_args()
    measure(SMALL, 1, 2)  # compiles and loads what all need
    costs = {}
    for name in args.axis or SWEEPS:
        costs[name] = sweep(name, SWEEPS[name])
        for row in costs[name]:
            print("  ".join(f"{k} {v:.4g}" for k, v in asdict(row).items()))
        x = [row.commands for row in costs[name]]
        if x[-1] > x[-2]:
            exponent = slope(x, [row.map_ms + row.predict_ms for row in costs[name]])
            print(f"{name}: time grows as commands to the power {exponent:.2f}")
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(page(costs), encoding="utf-8")
        print(args.out)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
