"""Mixtures of experts as integer nodes: against float, and token by token in Python's integers."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from moesaic.models.check_graph import check_graph
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.float_run import run_float
from moesaic.models.gelu_forms import GELU_FORMS
from moesaic.models.graph import Graph, Product, Route
from moesaic.models.graph_macs import graph_macs
from moesaic.models.input_matrix import input_matrices, input_matrix
from moesaic.models.network import Experts, Gate, Network
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network

TOKENS, EXPERTS = 21, 5


def network(top: int = 2) -> Network:
    return sample_network("experts", tokens=TOKENS, experts=EXPERTS, dim=24, mlp=32, top=top)


def rounded(value: int, shift: int, bits: int) -> int:
    """Round half to even and saturate; Python's round of a Fraction does the former."""
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return max(low, min(high, round(Fraction(value, 1 << shift))))


@pytest.mark.parametrize("top", [1, 2, 4])
@pytest.mark.parametrize(("data_bits", "decibels"), [(8, 25.0), (16, 60.0)])
def test_quantised_mixture_is_near_the_float_one(data_bits: int, decibels: float, top: int) -> None:
    """Signal over noise of the stream behind the experts, where both route alike."""
    net = network(top=top)
    images = sample_images(net, 12)
    graph = quantise(net, images[:8], data_bits=data_bits)
    exact = run_float(net, images[8:])
    found = execute(graph, input_matrices(graph, net, images[8:]), lanes=8)
    alike = ((found["block0.gate"] >= 0) == (exact["block0.gate"] > 0)).all(axis=-1)
    assert alike.mean() > (0.9 if data_bits == 8 else 0.98)
    signal = exact["block0.add2"][alike]
    error = (found["block0.experts.4"] * graph["block0.experts.4"].scale - exact["block0.add2"])[
        alike
    ]
    ratio = 10 * np.log10((signal**2).mean() / (error**2).mean())
    assert decibels < ratio < decibels + 25


@pytest.mark.parametrize("top", [1, 2, 3])
@pytest.mark.parametrize(("data_bits", "gelu"), [(8, "table"), (16, "table"), (8, "polynomial")])
def test_each_token_by_itself(data_bits: int, gelu: str, top: int) -> None:
    """The sum over a token's experts, ascending, with the stream saturated after each."""
    net = network(top=top)
    images = sample_images(net, 4)
    graph = quantise(net, images, data_bits=data_bits, gelu=gelu)
    values = execute(graph, input_matrix(graph, net, images[0]), lanes=4)
    scores = values["block0.gate"]
    assert ((scores >= 0).sum(axis=1) == top).all()
    products = [n for n in graph.nodes if isinstance(n, Product) and n.route is not None]
    assert [p.expert for p in products] == [e for e in range(EXPERTS) for _ in range(2)]
    stream = values["block0.proj"].tolist()
    for first, second in zip(products[::2], products[1::2], strict=True):
        for token in np.flatnonzero(scores[:, first.expert] >= 0):
            x = values[first.x][token]
            hidden = []
            for column in range(first.channels):
                acc = int(x @ first.weight[:, column] + first.bias[column])
                y = rounded(
                    acc * int(first.multiplier[column]), int(first.shift[column]), graph.wide_bits
                )
                y = int(GELU_FORMS[gelu](np.array([y]), graph.wide_bits)[0])
                hidden.append(rounded(y * first.post_multiplier, first.post_shift, data_bits))
            assert values[first.name][token].tolist() == hidden
            score = int(scores[token, first.expert])
            for column in range(second.channels):
                acc = int(np.array(hidden) @ second.weight[:, column] + second.bias[column])
                y = rounded(
                    acc * int(second.multiplier[column]), int(second.shift[column]), graph.wide_bits
                )
                total = stream[token][column] + rounded(y * score, 16, graph.wide_bits)
                stream[token][column] = rounded(total, 0, graph.wide_bits)
        assert values[second.name].tolist() == stream
        idle = scores[:, first.expert] < 0
        assert not values[first.name][idle].any()


def test_macs_are_those_of_routed_tokens() -> None:
    net = network(top=2)
    graph = quantise(net, sample_images(net, 2))
    mixture = sum(
        m.weight.size for m in graph.nodes if isinstance(m, Product) and m.route is not None
    )
    without = replace(
        graph,
        nodes=tuple(n for n in graph.nodes if not (isinstance(n, Product) and n.route)),
    )
    routed = 2 * TOKENS * mixture // EXPERTS
    assert graph_macs(graph).dense == graph_macs(without).dense + routed


def broken(graph: Graph, name: str, **changes: object) -> Graph:
    nodes = tuple(
        replace(n, **changes) if n.name == name else n  # type: ignore[arg-type]
        for n in graph.nodes
    )
    return replace(graph, nodes=nodes)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("block0.experts.0", {"route": None}, "epilogue weigh must have a route"),
        ("block0.experts.0", {"route": "block0.norm2"}, "route must be a Route, not LayerNorm"),
        ("block0.experts.0", {"route": "none"}, "reads 'none', which no earlier node makes"),
        ("block0.experts.0", {"expert": 5}, "expert must be in 0..4, not 5..5"),
        ("block0.experts.0", {"residual": "block0.norm2"}, "block0.norm2 must be wide"),
        ("block0.experts.1.hidden", {"epilogue": "narrow"}, "with epilogue gelu or weigh"),
        ("block0.gate", {"top": 5}, "top must be in 1..4, not 5..5"),
        ("block0.gate", {"x": "block0.norm2"}, "block0.norm2 must be wide"),
        ("head", {"x": "block0.gate"}, "cannot read Route block0.gate"),
    ],
)
def test_damaged_graphs_are_refused(name: str, changes: dict[str, object], message: str) -> None:
    net = network()
    graph = quantise(net, sample_images(net, 2))
    check_graph(graph)
    assert isinstance(graph["block0.gate"], Route)
    with pytest.raises(InputError, match=message):
        check_graph(broken(graph, name, **changes))


def test_networks_that_cannot_be_quantised() -> None:
    net = network()
    images = sample_images(net, 2)
    layers = {layer.name: layer for layer in net.layers}
    gate, experts = layers["block0.gate"], layers["block0.experts"]
    assert isinstance(gate, Gate)
    assert isinstance(experts, Experts)
    far = replace(gate, weight=100 * gate.weight)
    with pytest.raises(InputError, match=r"block0.gate: gate logits must be below 88.0, not"):
        quantise(_with(net, far), images)
    large = replace(experts, hidden_bias=experts.hidden_bias + 40)
    with pytest.raises(InputError, match=r"0.hidden.inner: GELU's input must be below 32.0, not"):
        quantise(_with(net, large), images)
    alone = replace(net, layers=net.layers[: 1 + list(layers).index("block0.experts")])
    with pytest.raises(InputError, match="experts must be added to a residual stream"):
        quantise(alone, images)


def _with(net: Network, layer: Gate | Experts) -> Network:
    layers = tuple(layer if old.name == layer.name else old for old in net.layers)
    return replace(net, layers=layers)
