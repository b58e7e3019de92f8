"""Methods of sparse training: a layer's products against the operands they are said to have."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from moesaic.models.accel import NM
from moesaic.models.conv_config import RESNET9_MNIST, ConvConfig
from moesaic.models.sparse import prune
from moesaic.models.torch_zoo.convnet import ConvNet
from moesaic.models.torch_zoo.masks import group_mask
from moesaic.models.torch_zoo.mvue import sample_along
from moesaic.models.torch_zoo.sparse_layers import PrunedConv, PrunedLinear, SparseTraining
from moesaic.models.torch_zoo.vit import Vit
from moesaic.models.training_method import LayerRule, MethodSpec, WeightLayer
from moesaic.models.vit_config import VIT_MNIST, VitConfig

RATIOS = ("2:4", "1:4", "2:8", "1:8", "2:16", "4:16")
SPECS = {
    "dense": MethodSpec(method="dense"),
    "bdwp": MethodSpec(method="bdwp", nm="2:8"),
    "bdwp-decay": MethodSpec(method="bdwp", nm="2:4", decay=0.01),
    "srste": MethodSpec(method="srste", nm="2:8", decay=0.01),
    "srste-plain": MethodSpec(method="srste", nm="1:4", decay=0),
    "sdgp": MethodSpec(method="sdgp", nm="2:8"),
    "sdgp-rescale": MethodSpec(method="sdgp", nm="1:8", rescale=True),
    "sdwp": MethodSpec(method="sdwp", nm="4:16"),
}
Values = NDArray[np.float64]


def drawn(shape: tuple[int, ...], seed: int, ties: bool) -> Values:
    """Return values of which many are equal in magnitude, or none."""
    rng = np.random.default_rng(seed)
    return rng.integers(-3, 4, shape) / 2 if ties else rng.standard_normal(shape)


def pruned(values: NDArray[Any], nm: str, axis: int) -> NDArray[Any]:
    """Prune along an axis by the numpy model, which knows nothing of torch."""
    moved = np.moveaxis(values, axis, 0)
    mask = prune(moved.reshape(len(moved), -1), NM.parse(nm)).reshape(moved.shape)
    return np.moveaxis(moved * mask, 0, axis)


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize("nm", RATIOS)
@pytest.mark.parametrize(("shape", "dim"), [((6, 48), 1), ((48, 6), 0), ((21, 10, 3, 3), 0)])
def test_masks_are_those_of_the_compressed_weights(
    shape: tuple[int, ...], dim: int, nm: str, ties: bool
) -> None:
    values = drawn(shape, 1, ties).astype(np.float32)
    n, m = NM.parse(nm).n, NM.parse(nm).m
    got = torch.from_numpy(values) * group_mask(torch.from_numpy(values), n, m, dim)
    np.testing.assert_array_equal(got.numpy(), pruned(values, nm, dim))


def test_an_open_group_keeps_what_it_has() -> None:
    mask = group_mask(torch.tensor([[1.0, 2, 3, 4, 0, 0, 5]]), 2, 4, 1)
    assert mask.tolist() == [[False, False, True, True, True, False, True]]
    zeros = group_mask(torch.zeros(1, 6), 2, 4, 1)
    assert zeros.tolist() == [[True, True, False, False, True, True]]


def expected(
    spec: MethodSpec, w: Values, x: Values, g: Values
) -> tuple[Values, Values, Values, Values]:
    """Return Y, dX, dW, db of a linear layer from the operands that the method names."""
    nm = spec.nm or "2:4"
    forward = pruned(w, nm, 1) if spec.method in ("bdwp", "srste") else w
    backward = {"bdwp": pruned(w, nm, 0), "sdwp": pruned(w, nm, 0), "srste": forward}
    gradient = pruned(g, nm, -1) if spec.method == "sdgp" else g
    if spec.rescale:
        before, after = (np.abs(v).sum(axis=1, keepdims=True) for v in (g, gradient))
        gradient = gradient * np.divide(before, after, out=np.zeros_like(after), where=after > 0)
    rows = g.reshape(-1, g.shape[-1])
    weight = rows.T @ x.reshape(-1, x.shape[-1])
    if spec.decay:
        weight = weight + spec.decay * np.where(forward == 0, w, 0)
    return x @ forward.T, gradient @ backward.get(spec.method, w), weight, rows.sum(axis=0)


def linear(w: Values, rule: LayerRule) -> PrunedLinear:
    layer = PrunedLinear(w.shape[1], w.shape[0], dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w))
        assert layer.bias is not None
        layer.bias.zero_()
    layer.prune(rule, torch.Generator().manual_seed(5))
    return layer


def run(layer: nn.Module, x: Values, g: Values) -> tuple[Values, Values, Values, Values | None]:
    """Return Y, dX, dW and db of one step."""
    given = torch.from_numpy(x).requires_grad_()
    result = layer(given)
    result.backward(torch.from_numpy(g))
    assert given.grad is not None
    weight, bias = layer.get_parameter("weight").grad, getattr(layer, "bias", None)
    assert weight is not None
    return (
        result.detach().numpy(),
        given.grad.numpy(),
        weight.numpy(),
        None if bias is None else bias.grad.numpy(),
    )


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize(("inputs", "outputs"), [(32, 16), (20, 27)])
@pytest.mark.parametrize("name", SPECS)
def test_linear_layer(name: str, inputs: int, outputs: int, ties: bool) -> None:
    w, x = drawn((outputs, inputs), 1, ties), drawn((3, 5, inputs), 2, False)
    g = drawn((3, 5, outputs), 3, ties)
    got = run(linear(w, SPECS[name].rule), x, g)
    for value, wanted in zip(got, expected(SPECS[name], w, x, g), strict=True):
        assert value is not None
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize(("channels", "stride"), [((16, 32), 1), ((12, 10), 2)])
def test_convolution_is_the_linear_layer_of_its_patches(
    name: str, channels: tuple[int, int], stride: int
) -> None:
    """The patches of kernel positions, each with its own weights (outputs, inputs)."""
    inputs, outputs = channels
    w, x = drawn((outputs, inputs, 3, 3), 1, True), drawn((2, inputs, 6, 6), 2, False)
    side = 6 if stride == 1 else 3
    g = drawn((2, outputs, side, side), 3, False)
    layer = PrunedConv(
        inputs, outputs, 3, stride=stride, padding=1, bias=False, dtype=torch.float64
    )
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(w))
    layer.prune(SPECS[name].rule, None)
    got = run(layer, x, g)
    y, dx, dw = np.zeros_like(g), np.zeros((2, inputs, 8, 8)), np.zeros_like(w)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    pixels = g.transpose(0, 2, 3, 1)
    for row, column in product(range(3), range(3)):
        window = np.s_[
            :, :, row : row + stride * side : stride, column : column + stride * side : stride
        ]
        patch = padded[window].transpose(0, 2, 3, 1)
        flat = (v.reshape(2, side * side, -1) for v in (patch, pixels))
        parts = expected(SPECS[name], w[:, :, row, column], *flat)
        y += parts[0].reshape(2, side, side, outputs).transpose(0, 3, 1, 2)
        dx[window] += parts[1].reshape(2, side, side, inputs).transpose(0, 3, 1, 2)
        dw[:, :, row, column] = parts[2]
    for value, wanted in zip(got, (y, dx[:, :, 1:-1, 1:-1], dw), strict=False):
        assert value is not None
        np.testing.assert_allclose(value, wanted, rtol=0, atol=1e-12)


def test_the_backward_is_not_the_forwards_derivative() -> None:
    w, x, g = drawn((16, 32), 1, False), drawn((4, 32), 2, False), drawn((4, 16), 3, False)
    dx = run(linear(w, SPECS["bdwp"].rule), x, g)[1]
    assert np.abs(dx - g @ pruned(w, "2:8", 1)).max() > 1
    assert np.abs(dx - g @ (pruned(w, "2:8", 1) * (pruned(w, "2:8", 0) != 0))).max() > 0.1


@pytest.mark.parametrize("refresh", [1, 3])
def test_masks_change_with_their_step_and_only_then(refresh: int) -> None:
    model = nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 16), nn.Linear(16, 16))
    layers = tuple(WeightLayer(name=str(i), inputs=16, outputs=16) for i in range(3))
    training = SparseTraining(model, replace(SPECS["bdwp"], refresh=refresh), layers)
    assert list(training.layers) == ["1"]
    layer, chosen = training.layers["1"], torch.zeros(())
    for step in range(8):
        with torch.no_grad():
            layer.weight.copy_(torch.from_numpy(drawn((16, 16), step, False)))
        training.begin(step)
        if step % refresh == 0:
            chosen = layer.weight.detach().clone()
        for mask, dim in ((layer.forward_mask, 1), (layer.backward_mask, 0)):
            assert mask is not None
            np.testing.assert_array_equal(
                (chosen * mask).numpy(), pruned(chosen.double().numpy(), "2:8", dim)
            )
    pruned_now = pruned(layer.weight.detach().double().numpy(), "2:8", 1)
    np.testing.assert_array_equal(training.forward_weights()["1.weight"].numpy(), pruned_now)


@pytest.mark.parametrize("config", [VIT_MNIST, RESNET9_MNIST], ids=["vit", "resnet9"])
def test_layers_are_replaced_in_place(config: ConvConfig | VitConfig) -> None:
    model = Vit(config) if isinstance(config, VitConfig) else ConvNet(config)
    before = dict(model.named_parameters())
    names = [layer.name for layer in config.weight_layers]
    for layer in config.weight_layers:
        shape = tuple(model.get_submodule(layer.name).get_parameter("weight").shape)
        wanted = (layer.outputs, layer.inputs, layer.kernel, layer.kernel)
        assert np.prod(shape) == np.prod(wanted)
        assert shape[0] == layer.outputs
    spec = replace(SPECS["bdwp"], exceptions=("first", "*.2.*", "classifier"))
    training = SparseTraining(model, spec, config.weight_layers)
    assert list(training.layers) == [n for n in names[1:-1] if ".2." not in n]
    after = dict(model.named_parameters())
    assert before.keys() == after.keys()
    assert all(before[name] is after[name] for name in before)


def test_sparse_weight_update_draws_from_its_seed() -> None:
    spec = MethodSpec(method="bdwp", nm="2:8", update="2:4")
    w, x, g = drawn((16, 32), 1, False), drawn((5, 3, 32), 2, False), drawn((5, 3, 16), 3, False)
    got = run(linear(w, spec.rule), x, g)
    rows = torch.from_numpy(g.reshape(15, 16))
    kept = sample_along(rows, 2, 4, 0, torch.Generator().manual_seed(5)).numpy()
    counts = (np.pad(kept, ((0, 1), (0, 0))).reshape(4, 4, 16) != 0).sum(axis=1)
    assert counts.tolist() == np.full((4, 16), 2).tolist()
    np.testing.assert_allclose(got[2], kept.T @ x.reshape(15, 32), rtol=0, atol=1e-12)
    wanted = expected(SPECS["bdwp"], w, x, g)
    for place in (0, 1, 3):
        np.testing.assert_allclose(got[place], wanted[place], rtol=0, atol=1e-12)  # type: ignore[arg-type]


def test_sparse_weight_update_of_a_convolution_is_unbiased() -> None:
    rule = MethodSpec(method="bdwp", nm="2:8", update="2:4").rule
    layer = PrunedConv(8, 8, 3, padding=1, bias=False, dtype=torch.float64)
    layer.prune(rule, torch.Generator().manual_seed(5))
    x, g = drawn((2, 8, 4, 4), 2, False), drawn((2, 8, 4, 4), 3, False)
    draws = []
    for _ in range(400):
        layer.weight.grad = None
        draws.append(run(layer, x, g)[2].copy())
    layer.prune(replace(rule, update=None), None)
    layer.weight.grad = None
    exact = run(layer, x, g)[2]
    error = (np.mean(draws, axis=0) - exact) / (np.std(draws, axis=0) / 20)
    assert np.abs(error).max() < 5
    assert np.std(draws, axis=0).min() > 0


def test_pooling_gives_equals_to_the_first() -> None:
    x = torch.zeros(1, 1, 4, 4).contiguous(memory_format=torch.channels_last).requires_grad_()
    nn.MaxPool2d(2)(x).sum().backward()
    assert x.grad is not None
    assert x.grad[0, 0].tolist() == [[1, 0, 1, 0], [0, 0, 0, 0]] * 2


def test_only_plain_layers_are_pruned() -> None:
    layers = tuple(WeightLayer(name=str(i), inputs=8, outputs=8) for i in range(3))
    for layer in (nn.LayerNorm(8), nn.Conv2d(8, 8, 3, groups=2)):
        model = nn.Sequential(nn.Linear(8, 8), layer, nn.Linear(8, 8))
        with pytest.raises((TypeError, ValueError), match="pruned"):
            SparseTraining(model, SPECS["bdwp"], layers)
