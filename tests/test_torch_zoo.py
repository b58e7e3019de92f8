"""The torch networks: N:M masks, training, and the accuracy that docs/models.md states."""

import re
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from moesaic.models.data import load_mnist
from moesaic.models.errors import InputError
from moesaic.models.recipes import AugmentSpec, TrainRecipe
from moesaic.models.seeded_weights import seeded_weights
from moesaic.models.torch_zoo.activations import activation_spread
from moesaic.models.torch_zoo.augment import distort
from moesaic.models.torch_zoo.masks import nm_mask, sparse_names, straight_through
from moesaic.models.torch_zoo.train import BACKGROUND, top1, train
from moesaic.models.torch_zoo.vit import Attention, Block, build_vit, weights_of
from moesaic.models.vit_config import DEIT_TINY, VIT_MNIST, VitConfig
from moesaic.models.weights_io import load_weights, save_weights

SMALL = VitConfig(image=28, channels=1, patch=7, dim=16, depth=2, heads=2, mlp=16, classes=10)
TINY = TrainRecipe(
    name="tiny", dataset="mnist", model=SMALL, seed=3, epochs=2, batch=50, learning_rate=0.003
)
SHIPPED = {"vit-mnist": None, "vit-mnist-2of4": (2, 4), "vit-mnist-2of8": (2, 8)}
DOCS = Path(__file__).parents[1] / "docs" / "models.md"


def mask_by_sorting(weight: np.ndarray, n: int, m: int) -> np.ndarray:
    """Choose one group after the other, by Python's stable sort."""
    mask = np.zeros_like(weight)
    for row, start in product(range(weight.shape[0]), range(0, weight.shape[1], m)):
        group = [abs(float(w)) for w in weight[row, start : start + m]]
        for index in sorted(range(m), key=lambda i: -group[i])[:n]:
            mask[row, start + index] = 1
    return mask


@pytest.mark.parametrize("ties", [False, True], ids=["distinct", "ties"])
@pytest.mark.parametrize(("n", "m"), [(1, 2), (1, 4), (2, 4), (4, 4), (2, 8), (3, 16)])
def test_mask_keeps_the_largest_and_the_lowest_of_equals(n: int, m: int, ties: bool) -> None:
    rng = np.random.default_rng(m)
    shape = (12, 4 * m)
    drawn = rng.integers(-2, 3, shape) if ties else rng.standard_normal(shape)
    weight = drawn.astype(np.float32)
    got = nm_mask(torch.from_numpy(weight), n, m).numpy()
    np.testing.assert_array_equal(got, mask_by_sorting(weight, n, m))
    assert (got.reshape(-1, m).sum(axis=1) == n).all()


@pytest.mark.parametrize(
    ("n", "m", "message"), [(0, 4, "N must be in 1..4"), (2, 5, "M must divide the 8 inputs")]
)
def test_bad_mask_is_refused(n: int, m: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nm_mask(torch.zeros(2, 8), n, m)


def test_straight_through_reaches_pruned_weights() -> None:
    weight = torch.tensor([[1.0, -3.0]], requires_grad=True)
    used = straight_through(weight, torch.tensor([[0.0, 1.0]]))
    (used * torch.tensor([[5.0, 7.0]])).sum().backward()
    assert used.tolist() == [[0.0, -3.0]]
    assert weight.grad is not None
    assert weight.grad.tolist() == [[5.0, 7.0]]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_are_exactly_masked(name: str) -> None:
    weights, config = load_weights(name)
    pattern = SHIPPED[name]
    n, m = pattern or (1, 1)
    for key in sparse_names(config):
        counts = (weights[key].reshape(-1, m) != 0).sum(axis=1)
        assert (counts == n).all(), key
    for key in ("patch_embed.proj.weight", "head.weight"):
        assert (weights[key] != 0).all()


def stated(name: str) -> float:
    """Read the top-1 in percent that docs/models.md states for a network."""
    found = re.search(rf"^\| `{name}` \|.*?(\d+\.\d) %", DOCS.read_text(), re.MULTILINE)
    assert found, name
    return float(found[1])


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_reach_the_stated_accuracy(name: str) -> None:
    weights, config = load_weights(name)
    split = load_mnist()
    got = 100 * top1(build_vit(config, weights), split.test_images, split.test_labels)
    assert abs(got - stated(name)) <= 0.2
    assert got >= 96
    assert stated("vit-mnist") - got <= 1


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_activations_have_no_outliers(name: str) -> None:
    weights, config = load_weights(name)
    spread = activation_spread(build_vit(config, weights), load_mnist().calibration_images)
    assert len(spread) == 5 * config.depth + 1
    assert max(s.ratio for s in spread.values()) < 2
    assert min(s.ratio for s in spread.values()) >= 1


def test_training_is_deterministic_and_learns() -> None:
    recipe = replace(TINY, augment=AugmentSpec(rotate_degrees=5), mixup=0.1, ema=0.9, holdout=100)
    first, again = (train(recipe, limit=600) for _ in range(2))
    assert [p.loss for p in first.history] == [p.loss for p in again.history]
    for name, value in weights_of(first.model).items():
        np.testing.assert_array_equal(value, weights_of(again.model)[name])
    assert first.history[1].loss < first.history[0].loss
    assert first.history[1].holdout_top1 is not None
    other = train(replace(recipe, seed=4), limit=600)
    assert other.history[0].loss != first.history[0].loss


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
@pytest.mark.parametrize(("n", "m"), [(2, 4), (2, 8)])
def test_sparse_training_ends_exactly_masked(tmp_path: Path, n: int, m: int, share: float) -> None:
    start = tmp_path / "start.npz"
    save_weights(start, seeded_weights(SMALL, 1), SMALL)
    recipe = replace(TINY, start=str(start), nm=f"{n}:{m}", search_share=share, prune_decay=1.0)
    weights = weights_of(train(recipe, limit=200).model)
    for name in sparse_names(SMALL):
        assert ((weights[name].reshape(-1, m) != 0).sum(axis=1) == n).all()


def test_training_never_reads_a_test_image(monkeypatch: pytest.MonkeyPatch) -> None:
    split = load_mnist()
    no_images, no_labels = np.empty(0, np.float32), np.empty(0, np.int64)
    blind = replace(split, test_images=no_images, test_labels=no_labels)
    monkeypatch.setattr("moesaic.models.torch_zoo.train.load_mnist", lambda: blind)
    assert len(train(TINY, limit=100).history) == 2


def test_no_distortion_leaves_images_alone() -> None:
    images = torch.from_numpy(load_mnist().train_images[:20].copy())
    same = distort(images, AugmentSpec(), BACKGROUND, torch.Generator().manual_seed(1))
    torch.testing.assert_close(same, images, atol=1e-4, rtol=0)


def test_made_up_weights_act_like_trained_ones() -> None:
    model = build_vit(DEIT_TINY, seeded_weights(DEIT_TINY, 0))
    streams: list[float] = []
    perplexities: list[float] = []

    def watch(module: Attention, inputs: tuple[Tensor], _output: Tensor) -> None:
        qkv = module.qkv(inputs[0]).reshape(1, 197, 3, 3, 64).permute(2, 0, 3, 1, 4)
        weights = (qkv[0] @ qkv[1].transpose(-2, -1) / 8).softmax(dim=-1)
        perplexities.append(float((-(weights * weights.log()).sum(dim=-1)).mean().exp()))

    for block in model.blocks.children():
        assert isinstance(block, Block)
        block.attn.register_forward_hook(watch)
        block.register_forward_hook(lambda _m, _i, out: streams.append(float(out.std())))
    images = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    with torch.no_grad():
        logits = model(torch.from_numpy(images))
    assert 0.5 < min(streams) <= max(streams) < 3
    assert 20 < min(perplexities) <= max(perplexities) < 120
    assert 0.3 < float(logits.std()) < 3


def test_network_exports_and_has_the_published_names() -> None:
    model = build_vit(VIT_MNIST, seeded_weights(VIT_MNIST, 0))
    assert {k: tuple(v.shape) for k, v in model.state_dict().items()} == VIT_MNIST.parameter_shapes
    images = torch.from_numpy(load_mnist().test_images[:3].copy())
    exported = torch.export.export(model, (images,)).module()
    torch.testing.assert_close(exported(images), model(images), atol=1e-5, rtol=0)


def test_start_must_fit_the_recipe(tmp_path: Path) -> None:
    save_weights(tmp_path / "other.npz", seeded_weights(VIT_MNIST, 1), VIT_MNIST)
    recipe = replace(TINY, start=str(tmp_path / "other.npz"))
    with pytest.raises(InputError, match="start must have the recipe's model"):
        train(recipe, limit=100)
