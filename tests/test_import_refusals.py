"""What the importer refuses: in one line that names the file and what is wrong with it."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention, silu

from moesaic.models.errors import InputError
from moesaic.models.importer import import_model
from moesaic.models.torch_zoo.export import export_as, export_onnx, export_pt2

Edit = Callable[[dict[str, Any]], object]


class Small(nn.Module):
    """A linear layer, a convolution, and a function that may use them."""

    def __init__(self, function: Callable[["Small", Tensor], Tensor]) -> None:
        super().__init__()
        self.function = function
        self.linear = nn.Linear(12, 12)
        self.conv = nn.Conv2d(3, 6, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def refusal(path: Path) -> str:
    """Return the sentence after the file's name."""
    with pytest.raises(InputError) as caught:
        import_model(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: ")
    assert text.isprintable()
    return text.removeprefix(f"{path}: ")


def attend(query: Tensor, x: Tensor, mask: Tensor | None = None) -> Tensor:
    return scaled_dot_product_attention(query, x, x, attn_mask=mask)


MASK = torch.ones(7, 7).tril().bool()
OPERATORS: dict[str, tuple[Callable[[Small, Tensor], Tensor], str, str]] = {
    "silu": (lambda m, x: silu(m.linear(x)), "aten.silu", "Sigmoid"),
    "tanh": (lambda m, x: torch.tanh(m.linear(x)), "aten.tanh", "Tanh"),
    "gates": (
        lambda m, x: m.linear(x) * (x + 1),
        "aten.mul (of two activations)",
        "Mul (of two activations)",
    ),
    "softmax": (
        lambda m, x: torch.softmax(m.linear(x), -1),
        "aten.softmax (outside attention)",
        "Softmax (outside attention)",
    ),
    "mask": (
        lambda m, x: attend(m.linear(x), x, MASK),
        "aten.scaled_dot_product_attention (an attention mask)",
        "Add (an attention mask)",
    ),
    "pair": (
        lambda m, x: torch.cumsum(torch.relu(m.linear(x)), 1),
        "aten.cumsum, aten.relu",
        "CumSum, Relu",
    ),
    "tokens": (
        lambda m, x: m.linear(x[:, 2:5]) + x[:, 1:4],
        "aten.add (works on 3 of 7 tokens)",
        "Add (works on 3 of 7 tokens)",
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_unsupported_operators_are_named(name: str, tmp_path: Path) -> None:
    function, in_pt2, in_onnx = OPERATORS[name]
    model, x = Small(function), torch.zeros(1, 7, 12)
    for kind, expected in (("pt2", in_pt2), ("onnx17", in_onnx)):
        path = export_as(kind, model, x, tmp_path)
        assert refusal(path) == f"unsupported operators: {expected}"


def test_all_operators_of_a_cnn_are_named(tmp_path: Path) -> None:
    model = Small(lambda m, x: nn.functional.max_pool2d(torch.relu(m.conv(x)), 2))
    why = "(kernel [3, 3], stride [1, 1]: not a patch convolution)"
    path = export_as("pt2", model, torch.zeros(1, 3, 12, 12), tmp_path)
    expected = f"unsupported operators: aten.conv2d {why}, aten.max_pool2d, aten.relu"
    assert refusal(path) == expected
    path = export_as("onnx13", model, torch.zeros(1, 3, 12, 12), tmp_path)
    assert refusal(path) == f"unsupported operators: Conv {why}, MaxPool, Relu"


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    assert refusal(path) == "cannot be read: No such file or directory"
    assert refusal(tmp_path) == "cannot be read: Is a directory"
    damaged = "is not a readable ONNX model: foreign, damaged or truncated"
    for content in (b"not a model\n" * 9, b"\x89PNG\r\n\x1a\n", b"{}"):
        path.write_bytes(content)
        assert refusal(path) == damaged
    path.write_bytes(b"")
    assert refusal(path) == "is not a readable ONNX model: it holds no graph"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    assert "pickled objects, which are never opened" in refusal(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
@pytest.mark.parametrize("kind", ["pt2", "onnx17"])
def test_truncated_files(kind: str, part: float, tmp_path: Path) -> None:
    path = export_as(kind, Small(lambda m, x: m.linear(x)), torch.zeros(1, 7, 12), tmp_path)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
    assert "truncated" in refusal(path)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("kind", ["pt2", "onnx17"])
def test_weights_that_are_no_numbers(kind: str, value: float, tmp_path: Path) -> None:
    model = Small(lambda m, x: m.linear(x))
    model.linear.bias.data[3] = value
    path = export_as(kind, model, torch.zeros(1, 7, 12), tmp_path)
    text = refusal(path)
    assert text.startswith("weight ")
    assert text.endswith("bias' must be finite, but holds NaN or infinity")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((2, 7, 12), "the batch must be 1 or dynamic, not 2"),
        ((12,), "must have 2 to 4 dimensions, not 1"),
        ((1, 1, 1, 7, 12), "must have 2 to 4 dimensions, not 5"),
    ],
)
def test_input_shapes(shape: tuple[int, ...], message: str, tmp_path: Path) -> None:
    model = Small(lambda m, x: m.linear(x))
    export_pt2(model, torch.zeros(shape), tmp_path / "model.pt2")
    assert refusal(tmp_path / "model.pt2") == f"input 'x': {message}"


def linear_onnx(tmp_path: Path) -> tuple[Path, onnx.ModelProto]:
    path = tmp_path / "model.onnx"
    model = Small(lambda m, x: m.linear(x))
    export_onnx(model, torch.zeros(1, 7, 12), path, 17, dynamo=False)
    return path, onnx.load(path)


def outside(model: onnx.ModelProto, location: str) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location


ONNX_EDITS: dict[str, tuple[Callable[[onnx.ModelProto], object], str]] = {
    "opset": (
        lambda m: setattr(m.opset_import[0], "version", 12),
        "opset must be in 13..23, not [12]",
    ),
    "two-inputs": (
        lambda m: m.graph.input.add(name="mask"),
        "must have exactly one of inputs, not 2 ('x', 'mask')",
    ),
    "integers": (
        lambda m: setattr(m.graph.input[0].type.tensor_type, "elem_type", TensorProto.INT64),
        "input 'x': must be float, not int64",
    ),
    "huge-input": (
        lambda m: setattr(m.graph.input[0].type.tensor_type.shape.dim[1], "dim_value", 1 << 40),
        "input 'x': must have at most 16777216 values",
    ),
    "other-folder": (lambda m: outside(m, "../secret"), "external data must be a file beside"),
    "absent": (lambda m: outside(m, "nothing.bin"), "external data must be a file beside"),
    "domain": (
        lambda m: m.graph.node[0].MergeFrom(onnx.NodeProto(domain="acme\n", op_type="Fly")),
        "unsupported operators: acme.Fly",
    ),
    "loop": (
        lambda m: m.graph.node[0].input.__setitem__(0, m.graph.output[0].name),
        "reads a value that nothing makes",
    ),
    "bomb": (
        lambda m: m.graph.node.insert(0, bomb(m)),
        "ConstantOfShape (makes more than 16777216 values)",
    ),
}


def bomb(model: onnx.ModelProto) -> onnx.NodeProto:
    """Return a node that would fill a terabyte, and have the model read it."""
    model.graph.initializer.append(numpy_helper.from_array(np.array([1 << 19, 1 << 19]), "size"))
    model.graph.node[0].input[1] = "filled"
    return helper.make_node("ConstantOfShape", ["size"], ["filled"])


@pytest.mark.parametrize("name", ONNX_EDITS)
def test_edited_onnx(name: str, tmp_path: Path) -> None:
    edit, message = ONNX_EDITS[name]
    path, model = linear_onnx(tmp_path)
    edit(model)
    path.write_bytes(model.SerializeToString())
    assert message in refusal(path)


PT2_EDITS: dict[str, tuple[Edit, str]] = {
    "version": (lambda d: d["schema_version"].update(major=9), "schema_version must be 8, not 9"),
    "no-graph": (lambda d: d.pop("graph_module"), "does not follow the schema"),
    "no-inputs": (
        lambda d: d["graph_module"]["signature"]["input_specs"].clear(),
        "must have exactly one tensor of inputs, not []",
    ),
    "text": (lambda d: d["graph_module"]["graph"].update(nodes="x"), "does not follow the schema"),
    "python": (
        lambda d: d["graph_module"]["graph"]["nodes"][0].update(target="os.system"),
        "unsupported operators: os.system",
    ),
}


@pytest.mark.parametrize("name", PT2_EDITS)
def test_edited_pt2(name: str, tmp_path: Path) -> None:
    edit, message = PT2_EDITS[name]
    path = export_as("pt2", Small(lambda m, x: m.linear(x)), torch.zeros(1, 7, 12), tmp_path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    graph = next(name for name in members if name.endswith("models/model.json"))
    document = json.loads(members[graph])
    edit(document)
    members[graph] = json.dumps(document).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    assert message in refusal(path)
