"""Networks with experts in torch: the float network equals them, gates, losses, training."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from moesaic.models.canvases import make_canvases
from moesaic.models.data import load_mnist
from moesaic.models.float_run import run_float
from moesaic.models.made_up_images import made_up_images
from moesaic.models.moe_config import M3VIT_TINY, MOEVIT_MNIST, MoeVitConfig
from moesaic.models.network import Experts, Gate, Linear
from moesaic.models.network_shapes import value_shapes
from moesaic.models.recipes import CanvasRecipe, load_recipe
from moesaic.models.seeded_moe import seeded_moe_weights
from moesaic.models.torch_zoo.moe import (
    Balance,
    ExpertLayer,
    MoeVit,
    build_moe_vit,
    initialise,
    predict_task,
    waves,
)
from moesaic.models.torch_zoo.train_canvas import canvas_layer, train_on_canvases
from moesaic.models.torch_zoo.vit import weights_of
from moesaic.models.zoo_moe import moe_network

SMALL = replace(
    MOEVIT_MNIST, dim=16, depth=2, heads=2, mlp=16, experts=4, expert_hidden=8, height=30, width=30
)
CONFIGS = {
    "heads": SMALL,
    "dense": replace(SMALL, experts=0, expert_hidden=0, top=0),
    "one of two": replace(SMALL, experts=2, top=1, outputs=(3, 2, 1)),
    "all of four": replace(SMALL, top=4, depth=4),
    "class token": replace(SMALL, width=42, channels=3, class_token=True, outputs=(0, 0)),
    "m3vit": replace(M3VIT_TINY, depth=4),
}
TINY = CanvasRecipe(
    name="tiny",
    dataset="canvas",
    model=SMALL,
    seed=3,
    epochs=2,
    canvases=200,
    batch=20,
    learning_rate=0.01,
    ema=0.9,
    holdout=50,
)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_float_network_equals_torch(config: MoeVitConfig) -> None:
    """Float32 both; the largest difference lies within 2e-4 of values of size 1 to 10."""
    weights = seeded_moe_weights(config, 1)
    model = build_moe_vit(config, weights)
    images = made_up_images(canvas_layer(config), 3, 0)
    results = []
    for task in range(config.tasks):
        network = moe_network("net", weights, config, task)
        values = run_float(network, images)
        result = values[network.layers[-1].name]
        wanted = predict_task(model, images, task)
        assert (
            result.shape == wanted.shape == (3, config.tokens, config.outputs[task] or config.dim)
        )
        np.testing.assert_allclose(result, wanted, rtol=0, atol=2e-4)
        assert value_shapes(network)[network.layers[-1].name] == result.shape[1:]
        assert type(network.layers[-1]).__name__ == ("Linear" if config.headed else "Add")
        results.append(values)
    routed = [layer for layer in network.layers if isinstance(layer, Gate | Experts)]
    assert len(routed) == (2 * (config.depth // 2) if config.experts else 0)
    for layer in routed[:1]:  # behind it the tasks part ways
        assert np.abs(results[0][layer.name] - results[1][layer.name]).max() > 0.1


def test_tasks_share_all_but_gates_and_heads() -> None:
    weights = seeded_moe_weights(SMALL, 1)
    first, second = (moe_network("net", weights, SMALL, task) for task in (0, 1))
    for one, other in zip(first.layers, second.layers, strict=True):
        assert one.name == other.name
        for field in ("weight", "hidden_weight", "table", "gain"):
            if hasattr(one, field):
                same = np.array_equal(getattr(one, field), getattr(other, field))
                assert same == (not isinstance(one, Gate) and one.name != "head"), one.name
    head = first["head"]
    assert isinstance(head, Linear)
    assert head.weight.shape == (16, 11)


def test_gate_takes_the_lowest_of_equals_and_does_not_renormalise() -> None:
    layer = ExpertLayer(replace(SMALL, experts=4, top=2))
    for parameter in layer.parameters():
        torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        layer.fc2.bias[:] = torch.tensor([1.0, 10.0, 100.0, 1000.0])[:, None]
        out = layer(torch.ones(1, 3, 16), 0, None)
        torch.testing.assert_close(out, torch.full((1, 3, 16), 0.25 * 1 + 0.25 * 10))
        layer.gates.get_parameter("0.weight")[3] = 1 / 16
        out = layer(torch.ones(1, 3, 16), 0, None)
        e = float(np.e)
        wanted = (1000 * e + 1) / (e + 3)
        torch.testing.assert_close(out, torch.full((1, 3, 16), wanted))


def test_balance_is_zero_for_even_routing_and_large_for_one_expert() -> None:
    def loss(logits: torch.Tensor, noise: float) -> float:
        balance = Balance(generator=torch.Generator().manual_seed(0), noise=noise)
        balance.note(logits, logits, 1)
        return float(balance.losses[0])

    even = 20 * torch.eye(4).repeat(25, 1)
    alone = 20 * torch.eye(4)[:1].repeat(100, 1)
    for noise in (0.0, 1.0):
        assert loss(even, noise) < 1e-6
        assert abs(loss(alone, noise) - 3) < 1e-3  # variance over squared mean of (1, 0, 0, 0)


def test_noise_is_for_training_only() -> None:
    model = build_moe_vit(SMALL, seeded_moe_weights(SMALL, 1))
    images = torch.from_numpy(made_up_images(canvas_layer(SMALL), 4, 0))
    with torch.no_grad():
        plain = [model(images, task) for task in (0, 1)]
        quiet, noisy = (
            model.all_tasks(images, Balance(generator=torch.Generator().manual_seed(0), noise=n))[0]
            for n in (0.0, 4.0)
        )
    for task in (0, 1):
        torch.testing.assert_close(quiet[task], plain[task])
        assert float((noisy[task] - plain[task]).abs().max()) > 1e-2


def test_every_parameter_learns_and_starts_as_said() -> None:
    model = MoeVit(SMALL)
    initialise(model, torch.Generator().manual_seed(0))
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == SMALL.parameter_shapes
    balance = Balance(generator=torch.Generator().manual_seed(0), noise=1.0)
    images = torch.from_numpy(made_up_images(canvas_layer(SMALL), 4, 0))
    results, streams = model.all_tasks(images, balance)
    assert len(balance.losses) == 2
    assert len(streams) == 1 + 2
    torch.stack([*((r**2).sum() for r in results), *balance.losses]).sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert float(parameter.grad.abs().max()) > 0, name


def test_waves_tell_all_patches_apart() -> None:
    for config in (MOEVIT_MNIST, M3VIT_TINY):
        found = waves(config)
        assert found.shape == (config.patches, config.dim)
        assert float(found.abs().max()) <= 0.5
        distance = torch.cdist(found, found) + 10 * torch.eye(len(found))
        assert float(distance.min()) > 0.2
        near, far = distance[0, 1], distance[0, -1]
        assert near < far


def test_training_is_deterministic_and_learns() -> None:
    first, again = train_on_canvases(TINY), train_on_canvases(TINY)
    assert [p.loss for p in first.history] == [p.loss for p in again.history]
    for name, value in weights_of(first.model).items():
        np.testing.assert_array_equal(value, weights_of(again.model)[name])
    assert first.history[1].loss < first.history[0].loss
    assert first.history[1].holdout_accuracy is not None
    assert first.history[1].holdout_rmse is not None
    assert 0 <= first.history[1].gate_loss < 3
    other = train_on_canvases(replace(TINY, seed=4, epochs=1))
    assert other.history[0].loss != first.history[0].loss


def test_training_never_reads_a_test_digit(monkeypatch: pytest.MonkeyPatch) -> None:
    no_images, no_labels = np.empty(0, np.float32), np.empty(0, np.int64)
    blind = replace(load_mnist(), test_images=no_images, test_labels=no_labels)
    monkeypatch.setattr("moesaic.models.canvases.load_mnist", lambda: blind)
    assert len(train_on_canvases(replace(TINY, epochs=1, canvases=40)).history) == 1


def test_the_recipe_of_m3vit_runs_shrunk(tmp_path: Path) -> None:
    """The same image, patches, tokens and experts, but few blocks, features and canvases."""
    recipe = load_recipe("m3vit-tiny")
    assert isinstance(recipe, CanvasRecipe)
    model = replace(recipe.model, dim=24, depth=2, mlp=24, expert_hidden=12)
    small = replace(recipe, model=model, epochs=1, canvases=8, batch=4)
    result = train_on_canvases(small)
    canvases = make_canvases(canvas_layer(model), "test", 2)
    assert predict_task(result.model, canvases.images, 0).shape == (2, 129, 11)
    assert np.isfinite(result.history[0].loss)
