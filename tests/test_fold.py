"""models.fold: values stay the same, whatever way round a network says them."""

from dataclasses import replace

import numpy as np
import pytest

from moesaic.models.float_errors import float_errors
from moesaic.models.float_run import run_float
from moesaic.models.fold import fold, fused
from moesaic.models.network import Add, Layer, Linear, Network, Norm, Select
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import FORMS, sample_images, sample_network


def late_norm() -> Network:
    """Select the class token first, normalise it then."""
    network = sample_network("prenorm")
    *layers, norm, head = network.layers
    assert isinstance(norm, Norm)
    select = Select(name="class", x=norm.x, token=9)
    return replace(network, layers=(*layers, select, replace(norm, x="class", token=None), head))


def dead_layer() -> Network:
    """Something that nothing reads."""
    network = sample_network("prenorm")
    dead = replace(network["head"], name="other")
    return replace(network, layers=(*network.layers[:-1], dead, network.layers[-1]))


NETWORKS = {form: sample_network(form) for form in FORMS}
NETWORKS |= {"late-norm": late_norm(), "dead-layer": dead_layer()}


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_values_stay_the_same(network: Network) -> None:
    images = sample_images(network, 3)
    before, folded = run_float(network, images), fold(network)
    for name, value in run_float(folded, images).items():
        np.testing.assert_array_equal(value, before[name], err_msg=name)
    assert folded.layers[-1].name == network.layers[-1].name
    assert not any(isinstance(layer, Select) for layer in folded.layers)
    assert len(fused(folded)) == 4 - (network.name == "postnorm")


def test_branches_are_linear_layers() -> None:
    addition = fold(NETWORKS["postnorm"])["block0.add2"]
    assert isinstance(addition, Add)
    assert (addition.x, addition.residual) == ("block0.fc2", "block0.norm1")


def test_dead_layers_go() -> None:
    assert "other" not in {layer.name for layer in fold(NETWORKS["dead-layer"]).layers}


def extra(network: Network, *layers: Layer, head: str) -> Network:
    """Return the network with other layers before its head, which reads `head`."""
    last = network.layers[-1]
    assert isinstance(last, Linear)
    return replace(network, layers=(*network.layers[:-1], *layers, replace(last, x=head)))


ODD = {
    # A stream read narrow, without a norm.
    "no-norm": extra(sample_network("prenorm"), Select(name="one", x="embed", token=3), head="one"),
    # A branch that is no linear layer, and a stream that is.
    "norm-branch": extra(
        sample_network("prenorm"),
        Add(name="twice", x="norm", residual="norm"),
        head="twice",
    ),
    # A norm of all tokens read by a selection and by an addition.
    "two-readers": extra(
        sample_network("selected"),
        Add(name="more", x="norm", residual="block0.add2"),
        Select(name="last", x="more", token=9),
        Add(name="both", x="last", residual="class"),
        head="both",
    ),
}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("network", ODD.values(), ids=ODD)
def test_odd_forms_run_on_integers(network: Network, bits: int) -> None:
    """What no epilogue can make takes a Scale or a product with the identity."""
    graph = quantise(network, sample_images(network, 32), data_bits=bits)
    errors = float_errors(graph, network, sample_images(network, 4, seed=9))
    for error in errors.values():
        assert (22 if bits == 8 else 60) < error["sqnr_db"] < (46 if bits == 8 else 94)


def test_a_result_that_is_not_linear_is_wide() -> None:
    network = sample_network("pooled")
    for cut in (1, 2, 3):
        short = replace(network, layers=network.layers[:-cut])
        graph = quantise(short, sample_images(network, 16))
        errors = float_errors(graph, short, sample_images(network, 4, seed=9))
        assert 20 < errors[graph.nodes[-1].name]["sqnr_db"] < 50
