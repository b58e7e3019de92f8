"""Training by a method: recipes, data, whole runs, the command."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml

from moesaic.models.accel import NM
from moesaic.models.conv_config import ConvConfig
from moesaic.models.data import image_digests, load_mnist
from moesaic.models.errors import InputError
from moesaic.models.recipes import MethodRecipe, load_recipe
from moesaic.models.small_images import load_images
from moesaic.models.sparse import is_nm
from moesaic.models.torch_zoo.train_method import train_by_method
from moesaic.models.training_method import MethodSpec
from moesaic.models.vit_config import VitConfig
from moesaic.models.weights_io import load_weights_of
from moesaic.models.zoo import load_model
from moesaic.reports.cli import main

RECIPES = Path(__file__).parents[1] / "models" / "recipes"
CONV = ConvConfig(image=8, channels=1, layers=(8, "average", 16, "residual", "max"), classes=10)
VIT = VitConfig(image=8, channels=1, patch=2, dim=16, depth=1, heads=2, mlp=24, classes=10)
QUICK = MethodRecipe(
    name="quick",
    dataset="digits",
    model=CONV,
    method=MethodSpec(method="bdwp", nm="2:8"),
    seed=3,
    epochs=2,
    batch=50,
    learning_rate=0.05,
)
CASES = {
    "bdwp": MethodSpec(method="bdwp", nm="2:8"),
    "bdwp-update": MethodSpec(method="bdwp", nm="2:4", update="2:4", refresh=3),
    "srste": MethodSpec(method="srste", nm="2:16"),
    "sdgp": MethodSpec(method="sdgp", nm="1:4", rescale=True),
    "sdwp": MethodSpec(method="sdwp", nm="1:8"),
    "dense": MethodSpec(method="dense"),
}


def test_shipped_recipes_say_their_method() -> None:
    wanted = {
        "resnet9-mnist": "dense",
        "resnet9-mnist-bdwp": "bdwp",
        "resnet9-digits": "bdwp",
        "vgg-mnist": "srste",
        "vit7-mnist": "dense",
        "vit7-mnist-bdwp": "bdwp",
    }
    for name, method in wanted.items():
        recipe = load_recipe(name)
        assert isinstance(recipe, MethodRecipe)
        assert (recipe.name, recipe.method.method) == (name, method)
    for name in ("resnet9-mnist", "vit7-mnist"):  # the same but for the method
        dense, sparse = (load_recipe(recipe) for recipe in (name, f"{name}-bdwp"))
        assert isinstance(dense, MethodRecipe)
        assert isinstance(sparse, MethodRecipe)
        assert replace(dense, name=sparse.name, method=sparse.method) == sparse


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": {"method": "magic"}}, "method.method must be one of dense, bdwp"),
        ({"method": "bdwp"}, "method must be a mapping with the keys"),
        ({"method": {"method": "bdwp", "nm": "5:8"}}, "method.nm: sparsity must be N:M"),
        (
            {"method": {"method": "sdgp", "nm": "2:8", "exceptions": ["stem"]}},
            "method.exceptions must be of first, classifier, layers.0.conv.* not 'stem'",
        ),
        ({"methods": {}}, "unknown key 'methods' in the recipe; allowed are"),
        ({"optimiser": "adam"}, "optimiser must be 'sgd' or 'adamw', not 'adam'"),
        ({"momentum": 1}, r"momentum must be a number in 0\.0\.\.0\.9999, not 1"),
        ({"dataset": "cifar"}, "dataset must be 'mnist' or 'digits', not 'cifar'"),
        ({"dataset": "digits"}, "model must have image 8, channels 1 and classes 10 for digits"),
        ({"model": {"image": 32}}, "model must have exactly the keys"),
        ({"model": {"layers": [8]}}, "model must have exactly the keys"),
        (
            {"layers": ["residual"]},
            "layers must be a list of 1 to 200 entries that begins with a n",
        ),
        ({"layers": [8, "avg"]}, "layers must each be a number, 'average', .* not 'avg'"),
        ({"layers": [8, 0]}, r"a layer's channels must be an integer in 1\.\.4096, not 0"),
        ({"layers": [8] + ["max"] * 6}, "layers must not pool an odd side, but one of 1 is"),
        ({"layers": "8 max"}, "layers must be a list, not '8 max'"),
        ({"layers": [4096] * 9}, "a model may have at most"),
    ],
)
def test_bad_recipe_is_refused(
    tmp_path: Path,
    change: dict[str, object],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    values = yaml.safe_load((RECIPES / "resnet9-mnist.yaml").read_text())
    if "layers" in change:
        change = {"model": values["model"] | change}
    path = tmp_path / "bad.yaml"
    path.write_text(yaml.safe_dump(values | change))
    with pytest.raises(InputError, match=message) as caught:
        load_recipe(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert main(["train", str(path), "--out", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_images_at_another_side() -> None:
    wide, plain_ = load_images("mnist", 32), load_mnist()
    np.testing.assert_array_equal(wide.test_images[:, :, 2:-2, 2:-2], plain_.test_images)
    assert float(np.abs(wide.train_images[:, :, :2] - wide.background).max()) < 1e-6
    with pytest.raises(ValueError, match="images must be of"):
        load_images("mnist", 30)


def test_digits_are_split_once() -> None:
    split = load_images("digits", 8)
    assert split.train_images.shape == (1497, 1, 8, 8)
    assert np.bincount(split.test_labels).tolist() == [30] * 10
    train, test = (set(image_digests(x)) for x in (split.train_images, split.test_images))
    assert not train & test
    assert abs(float(split.train_images.mean())) < 0.05
    assert abs(float(split.train_images.std()) - 1) < 0.05


@pytest.mark.parametrize("model", [CONV, VIT], ids=["conv", "vit"])
@pytest.mark.parametrize("case", CASES)
def test_training_is_deterministic_and_ends_masked(
    case: str, model: ConvConfig | VitConfig
) -> None:
    recipe = replace(QUICK, model=model, method=CASES[case])
    first, again = (train_by_method(recipe, limit=300) for _ in range(2))
    assert [done.loss for done in first.history] == [done.loss for done in again.history]
    assert first.history[1].loss < first.history[0].loss
    for name, value in first.weights.items():
        np.testing.assert_array_equal(value, again.weights[name])
    rules = recipe.method.rules(model.weight_layers)
    for layer in model.weight_layers:
        weight, master = (w[f"{layer.name}.weight"] for w in (first.weights, first.master))
        rows = np.moveaxis(weight, 1, 0).reshape(weight.shape[1], -1)
        forward = rules[layer.name].forward
        assert forward is None or is_nm(rows, forward)
        kept = weight != 0
        np.testing.assert_array_equal(weight[kept], master[kept])
        assert (forward is None) == bool((weight == master).all())
    other = train_by_method(replace(recipe, seed=4), limit=300)
    assert other.history[0].loss != first.history[0].loss


def test_training_never_reads_a_test_image(monkeypatch: pytest.MonkeyPatch) -> None:
    split = load_images("digits", 8)
    blind = replace(split, test_images=np.empty(0, np.float32), test_labels=np.empty(0, np.int64))
    monkeypatch.setattr("moesaic.models.torch_zoo.train_method.load_images", lambda *_: blind)
    result = train_by_method(replace(QUICK, holdout=100), limit=300)
    assert result.history[-1].holdout_top1 is not None


def test_a_rate_that_diverges_is_refused() -> None:
    recipe = replace(QUICK, learning_rate=10.0, momentum=0.99, epochs=30, model=VIT)
    with pytest.raises(InputError, match=r"learning_rate must be smaller than 10.0: the loss is"):
        train_by_method(recipe, limit=300)


@pytest.mark.parametrize("model", [CONV, VIT], ids=["conv", "vit"])
def test_train_writes_a_model(
    tmp_path: Path, model: ConvConfig | VitConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    values = {
        "name": "quick",
        "dataset": "digits",
        "model": model.to_mapping(),
        "method": {"method": "srste", "nm": "2:8", "exceptions": ["first", "classifier", "*.fc2"]},
        "seed": 1,
        "epochs": 1,
        "batch": 50,
        "learning_rate": 0.05,
    }
    if model is CONV:
        values["method"] = {"method": "srste", "nm": "2:8"}
    (tmp_path / "quick.yaml").write_text(yaml.safe_dump(values))
    out = tmp_path / "out"
    for _ in range(2):  # the second replaces the first
        assert main(["train", str(tmp_path / "quick.yaml"), "--out", str(out)]) == 0
    assert "epoch 1/1  loss " in capsys.readouterr().out
    training = json.loads((out / "training.json").read_text())
    assert training["recipe"]["method"]["nm"] == "2:8"
    assert training["accuracy"]["images"] == 300
    for name in ("vit.npz" if model is VIT else "convnet.npz", "master.npz"):
        assert load_weights_of(out / name, type(model))[1] == model
    if model is CONV:
        with pytest.raises(InputError, match="must be an encoder to be run, not a convolutional"):
            load_model(out)
        return
    loaded = load_model(out)
    nm = {getattr(x, "name", ""): x.nm for x in loaded.network.layers if hasattr(x, "nm")}
    for name in ("attn.q", "attn.v", "attn.proj", "mlp.fc1"):
        assert nm[f"blocks.0.{name}"] == NM(n=2, m=8)
    assert nm["blocks.0.mlp.fc2"] is nm["patch_embed.proj"] is nm["head"] is None
