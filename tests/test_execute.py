"""models.execute node by node against Python integers and fractions."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import pytest

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.gelu import gelu
from moesaic.models.gelu_polynomial import gelu_polynomial
from moesaic.models.graph import (
    Constant,
    Graph,
    Input,
    LayerNorm,
    Mix,
    Node,
    Pool,
    Product,
    Scale,
    Scores,
    Softmax,
)
from moesaic.models.input_matrix import input_matrices
from moesaic.models.layernorm import layernorm
from moesaic.models.quantise import quantise
from moesaic.models.requant import Ints
from moesaic.models.sample_networks import FORMS, sample_images, sample_network
from moesaic.models.softmax import softmax

LANES = 4
CASES = list(product(FORMS, (8, 16)))
IDS = [f"{form}-int{bits}" for form, bits in CASES]
Matrix = list[list[int]]


@cache
def case(form: str, bits: int) -> tuple[Graph, Ints]:
    """Return a quantised network and three inputs, one of them at the limits of its range."""
    network = sample_network(form, nm=NM(n=2, m=8))
    graph = quantise(network, sample_images(network, 8), data_bits=bits)
    x = input_matrices(graph, network, sample_images(network, 3, seed=5))
    x[2] = np.where(x[2] > 0, (1 << (bits - 1)) - 1, -(1 << (bits - 1)))
    return graph, x


def narrowed(acc: int, multiplier: int, shift: int, bits: int) -> int:
    """Requantise by an exact fraction; `round` of a Fraction rounds half to even."""
    top = 1 << (bits - 1)
    return max(-top, min(top - 1, round(Fraction(acc * int(multiplier), 1 << int(shift)))))


def dot(a: Sequence[int], b: Sequence[int]) -> int:
    return sum(x * y for x, y in zip(a, b, strict=True))


def slow_product(graph: Graph, node: Product, values: dict[str, Any]) -> Matrix:
    wide, data = graph.wide_bits, graph.data_bits
    top = 1 << (wide - 1)
    out = [list(row) for row in values[str(node.residual)]] if node.epilogue == "add" else []
    for t, row in enumerate(values[node.x]):
        line = []
        for n in range(node.channels):
            acc = dot(row, node.weight[:, n].tolist()) + int(node.bias[n])
            bits = data if node.epilogue == "narrow" else wide
            y = narrowed(acc, node.multiplier[n], node.shift[n], bits)
            if node.epilogue == "add":
                y = max(-top, min(top - 1, y + out[t][n]))
            if node.epilogue == "gelu":
                curve = {"table": gelu, "polynomial": gelu_polynomial}[graph.gelu]
                y = int(curve(np.array([y]), wide)[0])
                y = narrowed(y, node.post_multiplier, node.post_shift, data)
            line.append(y)
        out[t : t + 1] = [line]
    return out


def slow_scores(graph: Graph, node: Scores, values: dict[str, Any]) -> list[Matrix]:
    heads = [slice(h * node.head_channels, (h + 1) * node.head_channels) for h in range(node.heads)]
    return [
        [
            [
                narrowed(dot(q[h], k[h]), node.multiplier, node.shift, graph.wide_bits)
                for k in values[node.k]
            ]
            for q in values[node.q]
        ]
        for h in heads
    ]


def slow_mix(graph: Graph, node: Mix, values: dict[str, Any]) -> Matrix:
    columns = list(zip(*values[node.v], strict=True))
    multiplier, shift = values[f"{node.p}.multiplier"], values[f"{node.p}.shift"]
    return [
        [
            narrowed(
                dot(values[node.p][h][t], columns[c]),
                multiplier[h][t],
                shift[h][t],
                graph.data_bits,
            )
            for c, h in enumerate(np.repeat(range(node.heads), node.head_channels).tolist())
        ]
        for t in range(node.tokens)
    ]


def slow(graph: Graph, node: Node, values: dict[str, Any], x: Matrix) -> Any:
    """Compute one node from the tensors before it, lists of Python integers, one row at a time."""
    data, wide = graph.data_bits, graph.wide_bits
    match node:
        case Input():
            return x
        case Constant():
            return node.value.tolist()
        case Product():
            return slow_product(graph, node, values)
        case Scores():
            return slow_scores(graph, node, values)
        case Softmax():
            common = {"multiplier": node.multiplier, "shift": node.shift}
            common |= {"valid": node.tokens, "lanes": LANES, "data_bits": data}
            return [
                [softmax(np.array([row]), **common)[0][0].tolist() for row in head]
                for head in values[node.x]
            ]
        case Mix():
            return slow_mix(graph, node, values)
        case LayerNorm():
            rows = values[node.x][node.first_token :][: node.tokens]
            common = {"shift": node.shift, "epsilon": node.epsilon, "data_bits": data}
            common["out_bits"] = wide if node.to_wide else data
            return [
                layernorm(np.array([row]), node.gain, node.offset, **common)[0].tolist()
                for row in rows
            ]
        case Scale():
            rows = values[node.x][node.first_token :][: node.tokens]
            return [[narrowed(v, node.multiplier, node.shift, data) for v in row] for row in rows]
        case Pool():
            sums = [sum(c) for c in zip(*values[node.x][: node.pooled], strict=True)]
            return [[narrowed(v, node.multiplier, node.shift, data) for v in sums]]
    raise AssertionError(node)


@pytest.mark.parametrize(("form", "bits"), CASES, ids=IDS)
def test_every_node_equals_exact_arithmetic(form: str, bits: int) -> None:
    graph, inputs = case(form, bits)
    for x in inputs[1:]:
        got = execute(graph, x, lanes=LANES)
        values = {name: value.tolist() for name, value in got.items()}
        for node in graph.nodes:
            assert values[node.name] == slow(graph, node, values, x.tolist()), node.name
            heads = (node.heads,) if isinstance(node, Scores | Softmax) else ()
            assert got[node.name].shape == (*heads, node.tokens, node.channels)


@pytest.mark.parametrize(("form", "bits"), CASES, ids=IDS)
def test_a_batch_equals_its_images(form: str, bits: int) -> None:
    graph, inputs = case(form, bits)
    together = execute(graph, inputs, lanes=LANES)
    for i, x in enumerate(inputs):
        for name, value in execute(graph, x, lanes=LANES).items():
            same = together[name] if value.ndim == together[name].ndim else together[name][i]
            np.testing.assert_array_equal(value, same, err_msg=name)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sign", [1, -1])
def test_streams_saturate(bits: int, sign: int) -> None:
    graph, inputs = case("prenorm", bits)
    top = (1 << (graph.wide_bits - 1)) - 1
    full = np.full((10, 12), sign * top)
    nodes = (replace(n, value=full) if isinstance(n, Constant) else n for n in graph.nodes)
    graph = replace(graph, nodes=tuple(nodes))
    got = execute(graph, inputs[1], lanes=LANES)
    values = {name: value.tolist() for name, value in got.items()}
    assert values["patches"] == slow(graph, graph["patches"], values, [])
    limit = top if sign > 0 else -top - 1
    assert np.count_nonzero(got["patches"] == limit) > 20
    assert values["block0.proj"] == slow(graph, graph["block0.proj"], values, [])


@pytest.mark.parametrize("bits", [8, 16])
def test_gelu_has_the_form_that_the_graph_says(bits: int) -> None:
    graph, inputs = case("prenorm", bits)
    other = replace(graph, gelu="polynomial")
    got = execute(other, inputs[1], lanes=LANES)
    values = {name: value.tolist() for name, value in got.items()}
    assert values["block0.fc1"] == slow(other, other["block0.fc1"], values, [])
    assert (got["block0.fc1"] != execute(graph, inputs[1], lanes=LANES)["block0.fc1"]).any()


def test_all_kinds_of_nodes_were_tried() -> None:
    nodes = [node for form, bits in CASES for node in case(form, bits)[0].nodes]
    kinds = {type(node) for node in nodes}
    assert kinds == {Input, Constant, Product, Scores, Softmax, Mix, LayerNorm, Scale, Pool}
    products = [node for node in nodes if isinstance(node, Product)]
    assert {node.epilogue for node in products} == {"narrow", "wide", "add", "gelu"}
    assert {node.nm for node in products} == {None, NM(n=2, m=8)}
    assert {node.to_wide for node in nodes if isinstance(node, LayerNorm)} == {False, True}


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros((8, 4), np.int64), r"image must be of shape \(9, 4\), not \(8, 4\)"),
        (np.full((9, 4), 128), r"image must hold integers in -128\.\.127"),
        (np.zeros((9, 4)), "image must hold integers"),
    ],
    ids=["shape", "range", "type"],
)
def test_bad_inputs_are_refused(x: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        execute(case("prenorm", 8)[0], x, lanes=LANES)
