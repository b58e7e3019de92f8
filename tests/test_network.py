"""The float network: its run, its directory, and networks from DeiT-named weights."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.float_run import cut_patches, gelu, run_float
from moesaic.models.network import Linear, Network
from moesaic.models.network_io import load_network, save_network
from moesaic.models.network_shapes import value_shapes
from moesaic.models.torch_zoo.encoders import shaken
from moesaic.models.torch_zoo.vit import Vit
from moesaic.models.vit_config import VitConfig
from moesaic.models.zoo_vit import vit_network

CONFIG = VitConfig(image=12, channels=3, patch=4, dim=20, depth=2, heads=5, mlp=28, classes=7)
Weights = dict[str, NDArray[np.float32]]


def weights() -> Weights:
    return {k: v.numpy().copy() for k, v in shaken(Vit(CONFIG)).state_dict().items()}


def network(changes: Weights | None = None, **options: Any) -> Network:
    return vit_network("small", weights() | (changes or {}), heads=5, **options)


def images(count: int = 3) -> NDArray[np.float32]:
    shape = (count, CONFIG.channels, CONFIG.image, CONFIG.image)
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


def logits(net: Network, x: NDArray[Any]) -> NDArray[Any]:
    return run_float(net, x)[net.layers[-1].name][:, 0]


def test_run_equals_torch_in_both_precisions() -> None:
    model, x = shaken(Vit(CONFIG)), images()
    with torch.no_grad():
        single = model(torch.from_numpy(x)).numpy()
        double = model.double()(torch.from_numpy(x).double()).numpy()
    span = np.ptp(double)
    np.testing.assert_allclose(logits(network(), x), single, rtol=0, atol=1e-5 * span)
    got = logits(network(), x.astype(np.float64))
    assert got.dtype == np.float64
    np.testing.assert_allclose(
        got, double, rtol=0, atol=1e-8 * span
    )  # token and position are one weight


def test_every_value_has_its_shape() -> None:
    net = network()
    values = run_float(net, images())
    assert {name: v.shape[1:] for name, v in values.items()} == value_shapes(net)


@pytest.mark.parametrize(("height", "width", "patch"), [(8, 12, 4), (7, 11, 3), (5, 5, 5)])
def test_patches_are_those_of_torch(height: int, width: int, patch: int) -> None:
    x = np.random.default_rng(1).normal(size=(2, 3, height, width))
    unfolded = torch.nn.functional.unfold(torch.from_numpy(x), patch, stride=patch)
    np.testing.assert_array_equal(cut_patches(x, patch), unfolded.transpose(1, 2).numpy())


@pytest.mark.parametrize("form", ["none", "tanh"])
def test_gelu_is_that_of_torch(form: str) -> None:
    x = np.linspace(-9, 9, 1001)
    expected = torch.nn.functional.gelu(torch.from_numpy(x), approximate=form).numpy()
    np.testing.assert_allclose(gelu(x, tanh=form == "tanh"), expected, rtol=0, atol=1e-14)


def test_layer_scale_is_folded() -> None:
    gain = np.linspace(-1, 2, CONFIG.dim, dtype=np.float32)
    state = weights()
    folded = {name: value.copy() for name, value in state.items()}
    for name in ("blocks.1.attn.proj", "blocks.1.mlp.fc2"):
        folded[f"{name}.weight"] *= gain[:, None]
        folded[f"{name}.bias"] *= gain
    scales = {f"blocks.1.{name}.gamma": gain for name in ("ls1", "ls2")}
    expected = logits(network(folded), images())
    np.testing.assert_allclose(logits(network(scales), images()), expected, rtol=1e-4, atol=1e-5)


def test_distillation_token_and_mean_pooling() -> None:
    positions = np.concatenate([weights()["pos_embed"], weights()["pos_embed"][:, :1]], axis=1)
    net = network({"dist_token": weights()["cls_token"] + 1, "pos_embed": positions})
    table = net["embed"].table  # type: ignore[attr-defined]
    np.testing.assert_array_equal(table[-1], (weights()["cls_token"] + positions[:, :1])[0, 0])
    pooled = weights()
    for part in ("weight", "bias"):
        pooled[f"fc_norm.{part}"] = pooled.pop(f"norm.{part}")
    net = vit_network("pooled", pooled, heads=5)
    values = run_float(net, images())
    stream = values["blocks.1.mlp.add"]
    assert stream.shape[1] == 10
    np.testing.assert_allclose(values["pool"][:, 0], stream[:, :9].mean(axis=1), rtol=1e-6)


def test_mode_marks_linear_layers_of_blocks() -> None:
    net = network(nm=NM(n=2, m=8))
    marked = {x.name for x in net.layers if isinstance(x, Linear) and x.nm}
    linear = {x.name for x in net.layers if isinstance(x, Linear)}
    assert linear - marked == {"patch_embed.proj", "head"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"head.weight": np.zeros((7, 21))}, r"head.weight must be float of shape \(any, 20\)"),
        ({"norm.bias": np.full(20, np.nan)}, "norm.bias must be finite"),
        ({"extra": np.zeros(1)}, "'extra' is not part of"),
        ({"pos_embed": np.zeros((1, 9, 20))}, "pos_embed has 9 tokens"),
        ({"cls_token": np.zeros((1, 1, 20), dtype=int)}, "cls_token must be float"),
    ],
)
def test_bad_weights_are_refused(changes: Weights, message: str) -> None:
    with pytest.raises(InputError, match=message):
        network(changes)


def test_saved_network_is_loaded_again(tmp_path: Path) -> None:
    net = network(nm=NM(n=2, m=4))
    save_network(net, tmp_path / "net", {"calibration.npy": b"x"})
    save_network(net, tmp_path / "net")
    again = load_network(tmp_path / "net")
    assert not (tmp_path / "net" / "calibration.npy").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["net"]
    for mine, theirs in zip(net.layers, again.layers, strict=True):
        for field in type(mine).__dataclass_fields__:
            np.testing.assert_array_equal(getattr(mine, field), getattr(theirs, field))


def test_other_directories_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a network's directory"):
        save_network(network(), tmp_path / "net")
    assert (tmp_path / "net" / "thesis.txt").read_text() == "mine"


def test_failed_save_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        save_network(network(), tmp_path / "net", {"a": object()})  # type: ignore[dict-item]
    assert list(tmp_path.iterdir()) == []


def edited(edit: Callable[[dict[str, Any]], object]) -> Callable[[Path], object]:
    """Return an edit of the JSON file."""

    def change(folder: Path) -> None:
        document = json.loads((folder / "network.json").read_text())
        edit(document)
        (folder / "network.json").write_text(json.dumps(document))

    return change


def cut(name: str, part: float) -> Callable[[Path], object]:
    """Return a truncation of a file."""
    return lambda f: (f / name).write_bytes(
        (f / name).read_bytes()[: int((f / name).stat().st_size * part)]
    )


def stored(**arrays: Any) -> Callable[[Path], object]:
    """Return a change of some arrays."""

    def change(folder: Path) -> None:
        with np.load(folder / "weights.npz") as old:
            kept = dict(old)
        np.savez(folder / "weights.npz", **(kept | arrays))

    return change


LAYER = "layers"
DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-json": (lambda f: (f / "network.json").unlink(), "network.json: cannot be read"),
    "no-weights": (lambda f: (f / "weights.npz").unlink(), "weights.npz: cannot be read"),
    "text": (lambda f: (f / "network.json").write_text("hello"), "network.json: Expecting value"),
    "deep": (lambda f: (f / "network.json").write_text("[" * 99999), "network.json: "),
    "binary": (lambda f: (f / "network.json").write_bytes(b"\xff" * 9), "network.json: 'utf-8'"),
    "cut-json": (cut("network.json", 0.5), "network.json: "),
    "cut-weights": (cut("weights.npz", 0.5), "not an archive of arrays, or is truncated"),
    "version": (edited(lambda d: d.update(version=2)), "format and version must be"),
    "unknown": (edited(lambda d: d.update(more=1)), "exactly the keys"),
    "op": (edited(lambda d: d[LAYER][1].update(op="Conv")), "op of a layer must be one of"),
    "key": (edited(lambda d: d[LAYER][1].update(stride=1)), "see 'stride'"),
    "type": (edited(lambda d: d[LAYER][0].update(patch="4")), "patch must be int, not '4'"),
    "bool": (edited(lambda d: d[LAYER][0].update(patch=True)), "patch must be int, not True"),
    "range": (edited(lambda d: d[LAYER][0].update(patch=13)), r"an integer in 0\.\.12, not 13"),
    "source": (edited(lambda d: d[LAYER][1].update(x="head")), "earlier layers, not 'head'"),
    "heads": (edited(lambda d: d[LAYER][7].update(heads=3)), "heads must be a divisor of 20"),
    "epsilon": (edited(lambda d: d[LAYER][3].update(epsilon=-1)), "epsilon must be at least 0"),
    "mode": (edited(lambda d: d[LAYER][4].update(nm="3:4")), "N in 1, 2, 4"),
    "gone": (edited(lambda d: d[LAYER].pop()), "holds no layer for 'head.weight'"),
    "twice": (edited(lambda d: d[LAYER].append(d[LAYER][0])), "the name must be unique"),
    "nan": (stored(**{"head.bias": np.full(7, np.nan, np.float32)}), "bias must be finite"),
    "shape": (stored(**{"head.bias": np.zeros(8, np.float32)}), r"float32 of shape \(7,\)"),
    "double": (stored(**{"head.bias": np.zeros(7)}), "must be float32 and whole"),
    "pickle": (stored(**{"head.bias": np.array([{}])}), "must be float32 and whole"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_one_line(name: str, tmp_path: Path) -> None:
    damage, message = DAMAGE[name]
    save_network(network(), tmp_path / "net")
    damage(tmp_path / "net")
    with pytest.raises(InputError, match=message) as caught:
        load_network(tmp_path / "net")
    assert str(caught.value).isprintable()
    assert str(caught.value).startswith(str(tmp_path / "net"))
