"""Weights on disk, made-up weights, and the configuration that both carry."""

import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesaic.models.errors import InputError
from moesaic.models.seeded_weights import seeded_weights
from moesaic.models.vit_config import VIT_MNIST, VIT_PRESETS, VitConfig
from moesaic.models.weights_io import (
    CONFIG_KEY,
    load_weights,
    save_weights,
    weight_names,
    weights_path,
)

SMALL = VitConfig(image=28, channels=1, patch=14, dim=8, depth=1, heads=2, mlp=8, classes=10)


def test_weights_survive_a_round_trip(tmp_path: Path) -> None:
    weights = seeded_weights(SMALL, 5)
    save_weights(tmp_path / "w.npz", weights, SMALL)
    got, config = load_weights(tmp_path / "w.npz")
    assert config == SMALL
    assert [path.name for path in tmp_path.iterdir()] == ["w.npz"]
    for name, value in weights.items():
        np.testing.assert_array_equal(got[name], value)


def test_shipped_weights_are_small_and_complete() -> None:
    assert {"vit-mnist", "vit-mnist-2of4", "vit-mnist-2of8"} <= set(weight_names())
    for name in ("vit-mnist", "vit-mnist-2of4", "vit-mnist-2of8"):
        assert load_weights(name)[1] == VIT_MNIST
        assert weights_path(name).stat().st_size < 700_000


def damaged(tmp_path: Path, kind: str) -> Path:
    """Write a file that is wrong in the way that `kind` names."""
    path = tmp_path / "bad.npz"
    arrays: dict[str, Any] = dict(seeded_weights(SMALL, 5))
    save_weights(path, arrays, SMALL)
    config = np.load(path)[CONFIG_KEY]
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[:-100])
    elif kind == "foreign":
        path.write_bytes(b"not an archive")
    elif kind == "flipped":
        data = bytearray(path.read_bytes())
        data[200:220] = bytes(20)
        path.write_bytes(data)
    elif kind == "absent":
        path.unlink()
    elif kind == "other zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("hello.txt", "hello")
    else:
        changes: dict[str, dict[str, Any]] = {
            "nan": {"head.bias": np.full(10, np.nan, np.float32)},
            "shape": {"head.bias": np.zeros(9, np.float32)},
            "type": {"head.bias": np.zeros(10, np.int32)},
            "large": {"head.bias": np.zeros(10_000, np.float32)},
            "pickle": {"head.bias": np.array([{}] * 10, dtype=object)},
            "unknown": {"extra": np.zeros(1, np.float32)},
            "missing": {},
        }
        arrays |= changes[kind]
        if kind == "missing":
            del arrays["head.bias"]
        np.savez_compressed(path, **arrays, **{CONFIG_KEY: config})
    return path


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("truncated", "bad.npz"),
        ("foreign", "bad.npz"),
        ("flipped", "bad.npz"),
        ("absent", "No such file"),
        ("other zip", "must hold a text config_json"),
        ("nan", "head.bias must be finite"),
        ("shape", r"head.bias must be float32 of shape \(10,\), not float32 of shape \(9,\)"),
        ("type", r"head.bias must be float32 of shape \(10,\), not int32"),
        ("large", r"head.bias must be float32 of shape \(10,\), but is larger"),
        ("pickle", "allow_pickle=False"),
        ("unknown", "'extra' is not a parameter"),
        ("missing", "head.bias is missing"),
    ],
)
def test_bad_weights_are_refused(tmp_path: Path, kind: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_weights(damaged(tmp_path, kind))
    assert "bad.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("patch", 5, "patch must divide image = 28, not 5"),
        ("heads", 3, "heads must divide dim = 8, not 3"),
        ("depth", 0, r"depth must be an integer in 1\.\.65536, not 0"),
        ("dim", True, "dim must be an integer"),
        ("mlp", "8", "mlp must be an integer"),
        ("depth", 60_000, None),
        ("mlp", 65_536, None),
    ],
)
def test_config_is_checked(field: str, value: object, message: str | None) -> None:
    values = SMALL.to_mapping() | {field: value}
    if message is None:
        assert VitConfig.from_mapping(values).parameters > SMALL.parameters
        return
    with pytest.raises(InputError, match=message):
        VitConfig.from_mapping(values)


def test_too_large_a_config_is_refused() -> None:
    with pytest.raises(InputError, match="at most 268435456 parameters"):
        VitConfig.from_mapping(VIT_MNIST.to_mapping() | {"mlp": 65_536, "dim": 65_536})


def test_presets_have_the_published_sizes() -> None:
    sizes = {name: config.parameters for name, config in VIT_PRESETS.items()}
    assert sizes["deit-tiny"] == 5_717_416
    assert sizes["deit-small"] == 22_050_664
    assert VIT_PRESETS["deit-tiny"].tokens == 197


def test_seeded_weights_depend_on_the_seed_only() -> None:
    first, again, other = (seeded_weights(SMALL, seed) for seed in (1, 1, 2))
    for name, shape in SMALL.parameter_shapes.items():
        assert first[name].shape == shape
        assert first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
