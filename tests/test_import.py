"""Imported networks compute what torch computes, whatever the file format and the spelling."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from moesaic.models.errors import InputError
from moesaic.models.float_run import run_float
from moesaic.models.importer import import_model
from moesaic.models.network import Add, Attention, Gelu, Linear, Network, Norm
from moesaic.models.torch_zoo.encoders import VARIANTS, shaken
from moesaic.models.torch_zoo.export import export_as, export_onnx, export_pt2
from moesaic.models.torch_zoo.vit import Vit
from moesaic.models.vit_config import DEIT_TINY, VitConfig
from moesaic.models.zoo_vit import vit_network

TOLERANCE = 1e-5  # of the range of torch's result, either way
TOKENS = (1, 7, 48)
BERT = {
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 80,
}
VISION = BERT | {"image_size": 16, "patch_size": 4, "num_labels": 5}
SIZES = {
    "ragged": VitConfig(
        image=12, channels=3, patch=4, dim=60, depth=2, heads=5, mlp=100, classes=7
    ),
    "flat": VitConfig(image=10, channels=1, patch=5, dim=24, depth=1, heads=1, mlp=17, classes=3),
    "wide": VitConfig(image=16, channels=2, patch=2, dim=32, depth=3, heads=8, mlp=64, classes=11),
}


class Field(nn.Module):
    """One field of the result of a transformers model."""

    def __init__(self, model: nn.Module, field: str) -> None:
        super().__init__()
        self.model, self.field = model, field

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self.model(x), self.field)


def vit(config: VitConfig) -> tuple[nn.Module, Tensor]:
    return shaken(Vit(config)), example(1, config.channels, config.image, config.image)


def example(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


def outside(name: str) -> tuple[nn.Module, Tensor]:
    """Return an architecture of torch or transformers."""
    layer: dict[str, Any] = {"d_model": 48, "nhead": 3, "dim_feedforward": 80, "activation": "gelu"}
    image = example(1, 3, 16, 16)
    if name in ("torch-post", "torch-pre"):
        block = nn.TransformerEncoderLayer(**layer, batch_first=True, norm_first=name[6:] == "pre")
        model = nn.TransformerEncoder(block, 2, enable_nested_tensor=False)
        return shaken(model), example(*TOKENS)
    if name == "torch-tokens-first":
        return shaken(nn.TransformerEncoderLayer(**layer)), example(7, 1, 48)
    from transformers import (
        BertConfig,
        DeiTConfig,
        DeiTForImageClassification,
        DeiTForImageClassificationWithTeacher,
        ViTConfig,
        ViTForImageClassification,
    )
    from transformers.models.bert.modeling_bert import BertEncoder

    if name == "bert":
        bert = BertEncoder(BertConfig(**BERT, attn_implementation="eager"))
        return shaken(Field(bert, "last_hidden_state")), example(*TOKENS)
    if name == "hf-vit":
        return shaken(Field(ViTForImageClassification(ViTConfig(**VISION)), "logits")), image
    kind = (
        DeiTForImageClassification if name == "hf-deit" else DeiTForImageClassificationWithTeacher
    )
    return shaken(Field(kind(DeiTConfig(**VISION)), "logits")), image


def assert_equal(network: Network, model: nn.Module, x: Tensor, *, turned: bool = False) -> None:
    """Compare with torch; `turned` where the class token is first in torch and last in ours."""
    with torch.no_grad():
        expected = model(x).numpy()
    images = x.numpy() if x.dim() == 4 else x.numpy().reshape(1, -1, x.shape[-1])
    got = run_float(network, images)[network.layers[-1].name]
    got = np.roll(got, 1, axis=1) if turned else got
    error = np.abs(got.reshape(expected.shape) - expected).max()
    assert error <= TOLERANCE * np.ptp(expected)


@pytest.mark.parametrize("kind", ["pt2", "onnx13", "onnx17"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_spelling(variant: str, kind: str, tmp_path: Path) -> None:
    if variant == "split" and kind == "onnx13":
        kind = "onnx14"  # the first with torch's attention operator
    model, x = shaken(VARIANTS[variant]()), example(1, 3, 12, 12)
    network = import_model(export_as(kind, model, x, tmp_path))
    assert_equal(network, model, x, turned=variant == "all")
    assert sum(isinstance(layer, Attention) for layer in network.layers) == 2
    tanh = [layer.tanh for layer in network.layers if isinstance(layer, Gelu)]
    assert tanh == [variant.endswith("tanh")] * 2
    epsilon = 1e-6 if "spelt" in variant else 1e-5
    for layer in network.layers:
        if isinstance(layer, Norm):
            assert layer.epsilon == pytest.approx(epsilon, rel=1e-6)
        if isinstance(layer, Add):
            assert isinstance(network[layer.x], Linear)
        if isinstance(layer, Linear) and layer.name.endswith(".k"):
            assert not layer.bias.any()


@pytest.mark.parametrize("variant", ["split", "spelt", "mean", "rearrange"])
def test_newer_exporter(variant: str, tmp_path: Path) -> None:
    model, x = shaken(VARIANTS[variant]()), example(1, 3, 12, 12)
    assert_equal(import_model(export_as("onnx18", model, x, tmp_path)), model, x)


@pytest.mark.parametrize(
    ("size", "kind"),
    [
        *((size, kind) for size in SIZES for kind in ("pt2", "onnx13")),
        ("ragged", "onnx18"),
        pytest.param("flat", "onnx18", marks=pytest.mark.nightly),
        pytest.param("wide", "onnx18", marks=pytest.mark.nightly),
    ],
)
def test_formats_and_weights_give_one_network(size: str, kind: str, tmp_path: Path) -> None:
    model, x = vit(SIZES[size])
    network = import_model(export_as(kind, model, x, tmp_path))
    weights = {name: value.numpy() for name, value in model.state_dict().items()}
    direct = vit_network("direct", weights, heads=SIZES[size].heads)
    assert_equal(network, model, x)
    assert_equal(direct, model, x)
    assert [layer.name for layer in network.layers] == [layer.name for layer in direct.layers]
    for mine, theirs in zip(network.layers, direct.layers, strict=True):
        assert type(mine) is type(theirs)
        if isinstance(mine, Linear) and isinstance(theirs, Linear):
            np.testing.assert_allclose(mine.weight, theirs.weight, rtol=1e-6)
            np.testing.assert_allclose(mine.bias, theirs.bias, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((n, "pt2") for n in ("hf-vit", "hf-deit", "hf-teacher", "bert", "torch-post")),
        *((n, "pt2") for n in ("torch-pre", "torch-tokens-first")),
        *((n, "onnx17") for n in ("hf-vit", "hf-deit", "hf-teacher", "bert", "torch-post")),
        *((n, "onnx17") for n in ("torch-pre",)),
        ("bert", "onnx13"),
        ("bert", "onnx18"),
        pytest.param("hf-vit", "onnx18", marks=pytest.mark.nightly),
        pytest.param("torch-post", "onnx18", marks=pytest.mark.nightly),
    ],
)
def test_outside_architecture(name: str, kind: str, tmp_path: Path) -> None:
    model, x = outside(name)
    assert_equal(import_model(export_as(kind, model, x, tmp_path)), model, x)


def test_dynamic_batch_and_decomposed_program(tmp_path: Path) -> None:
    model, x = vit(SIZES["ragged"])
    batch = torch.export.Dim("batch", min=1, max=64)
    program = torch.export.export(model, (x.repeat(2, 1, 1, 1),), dynamic_shapes=({0: batch},))
    torch.export.save(program, tmp_path / "a.pt2")
    torch.export.save(program.run_decompositions(), tmp_path / "b.pt2")
    for name in ("a.pt2", "b.pt2"):
        assert_equal(import_model(tmp_path / name), model, x)


def test_weights_beside_the_model(tmp_path: Path) -> None:
    model, x = vit(SIZES["wide"])
    path = tmp_path / "model.onnx"
    export_onnx(model, x, path)
    import onnx

    onnx.save(onnx.load(path), path, save_as_external_data=True, location="weights.bin")
    assert (tmp_path / "weights.bin").is_file()
    assert_equal(import_model(path), model, x)


class Shuffled(nn.Module):
    """A residual block whose tokens are shuffled half way, and shuffled back."""

    order: Tensor
    back: Tensor

    def __init__(self, order: list[int], back: list[int]) -> None:
        super().__init__()
        self.register_buffer("order", torch.tensor(order))
        self.register_buffer("back", torch.tensor(back))
        self.norm, self.linear, self.head = nn.LayerNorm(48), nn.Linear(48, 48), nn.Linear(48, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.index_select(1, self.order)
        y = self.linear(self.norm(x)).index_select(1, self.back)
        return self.head(y + self.linear(x).index_select(1, self.back))


@pytest.mark.parametrize("kind", ["pt2", "onnx17"])
def test_order_of_tokens_is_followed(kind: str, tmp_path: Path) -> None:
    order = [3, 1, 0, 6, 2, 5, 4]
    model, x = shaken(Shuffled(order, np.argsort(order).tolist())), example(*TOKENS)
    assert_equal(import_model(export_as(kind, model, x, tmp_path)), model, x)
    model = shaken(Shuffled(order, [0, 1, 2, 3, 4, 5, 6]))
    with pytest.raises(InputError, match="tokens are in another order"):
        import_model(export_as(kind, model, x, tmp_path))


@pytest.mark.nightly
def test_deit_tiny(tmp_path: Path) -> None:
    model, x = vit(DEIT_TINY)
    export_pt2(model, x, tmp_path / "model.pt2")
    export_onnx(model, x, tmp_path / "model.onnx")
    for name in ("model.pt2", "model.onnx"):
        assert_equal(import_model(tmp_path / name), model, x)
