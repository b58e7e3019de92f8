"""models.check_graph: every kind of broken graph is refused by a line that names the node."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from moesaic.models.accel import NM
from moesaic.models.check_graph import check_graph
from moesaic.models.errors import InputError
from moesaic.models.graph import Graph
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network


@pytest.fixture(scope="module")
def graph() -> Graph:
    network = sample_network("prenorm")
    return quantise(network, sample_images(network, 8))


def change(name: str, **fields: Any) -> Callable[[Graph], Graph]:
    """Return a function that replaces fields of one node."""

    def apply(graph: Graph) -> Graph:
        nodes = (replace(n, **fields) if n.name == name else n for n in graph.nodes)
        return replace(graph, nodes=tuple(nodes))

    return apply


FAULTS: dict[str, tuple[Callable[[Graph], Graph], str]] = {
    "bits": (lambda g: replace(g, data_bits=7), "data_bits must be 8 or 16, not 7"),
    "gelu-form": (lambda g: replace(g, gelu="tanh"), "one of table, polynomial, not 'tanh'"),
    "empty": (lambda g: replace(g, nodes=()), "holds no nodes"),
    "no-input": (lambda g: replace(g, nodes=g.nodes[1:]), "exactly one Input"),
    "result": (lambda g: replace(g, nodes=g.nodes[:-1]), "the last node must be wide"),
    "twice": (lambda g: replace(g, nodes=(*g.nodes, g.nodes[-1])), "head: names must be unique"),
    "order": (lambda g: replace(g, nodes=(*g.nodes[:5], *g.nodes[4:])), "names must be unique"),
    "unknown": (change("head", x="tail"), "head: reads 'tail', which no earlier node makes"),
    "later": (change("block0.q", x="head"), "block0.q: reads 'head', which no earlier node"),
    "wide-x": (change("head", x="patches"), "head: patches must be narrow"),
    "narrow-norm": (change("norm", x="block0.q"), "norm: block0.q must be wide"),
    "scores": (change("head", x="block0.attn.scores"), "head: cannot read Scores"),
    "softmax": (change("block0.attn.softmax", x="block0.q"), "must read Scores, not Product"),
    "passes": (change("block0.attn.softmax", softmax_passes=4), "must be 1, 2 or 3, not 4"),
    "mix": (change("block0.attn", p="block0.q"), "must read Softmax, not Product"),
    "shape": (change("head", tokens=2), r"head: shape must be \(1, 5\), not \(2, 5\)"),
    "weight": (change("head", weight=np.zeros((3, 5), int)), r"weight must have shape \(12, 5\)"),
    "floats": (change("head", weight=np.zeros((12, 5))), "weight must be an array of integers"),
    "range": (change("head", weight=np.full((12, 5), 128)), r"weight must be in -128\.\.127"),
    "bias": (change("head", bias=np.full(5, 1 << 39)), "bias must be in"),
    "shift": (change("head", shift=np.full(5, 63)), r"shift must be in 0\.\.62, not 63\.\.63"),
    "multiplier": (change("head", multiplier=np.full(5, 1 << 16)), r"must be in 0\.\.65535"),
    "nm": (change("head", nm=NM(n=1, m=16)), "head: weights must be 1:16, but rows 0..15"),
    "epilogue": (change("head", epilogue="relu"), "epilogue must be one of .*, not 'relu'"),
    "scale": (change("head", scale=float("nan")), "scale must be positive and finite, not nan"),
    "stream": (change("block0.fc2", scale=1.0), "block0.fc2: scale must be that of block0.proj"),
    "heads": (change("block0.attn.scores", heads=2), r"heads \* head_channels must be 12 and 12"),
    "rows": (change("norm", first_token=10), r"first_token \+ tokens must be within 0\.\.10"),
    "epsilon": (change("norm", epsilon=0), r"epsilon must be in 1\.\."),
    "gelu": (change("block0.fc1", post_shift=70), r"post_shift must be in 0\.\.62, not 70"),
}


@pytest.mark.parametrize(("fault", "message"), FAULTS.values(), ids=FAULTS)
def test_bad_graphs_are_refused(
    graph: Graph, fault: Callable[[Graph], Graph], message: str
) -> None:
    check_graph(graph)
    with pytest.raises(InputError, match=message):
        check_graph(fault(graph))
