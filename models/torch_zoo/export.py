"""Write torch models to the files that the importer reads."""

import logging
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

FORMATS = ("pt2", "onnx13", "onnx17", "onnx18")


def export_pt2(model: nn.Module, example: Tensor, path: str | Path) -> None:
    """Save a torch.export program of `model` for inputs of the shape of `example`."""
    torch.export.save(torch.export.export(model.eval(), (example,)), path)


def export_onnx(
    model: nn.Module, example: Tensor, path: str | Path, opset: int = 18, *, dynamo: bool = True
) -> None:
    """Save ONNX, weights inside the file; without `dynamo` by torch's older exporter.

    The older exporter declares the batch dynamic, the newer one has that of `example`.
    """
    options: dict[str, Any] = {"external_data": False, "verbose": False}
    if not dynamo:
        options = {"input_names": ["x"], "dynamic_axes": {"x": {0: "batch"}}}
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)  # what torchvision would have added
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            torch.onnx.export(
                model.eval(), (example,), path, opset_version=opset, dynamo=dynamo, **options
            )
    finally:
        logging.disable(level)


def export_as(kind: str, model: nn.Module, example: Tensor, folder: Path) -> Path:
    """Save as one of FORMATS, ONNX with its opset, and return the file."""
    path = folder / f"model-{kind}.{'pt2' if kind == 'pt2' else 'onnx'}"
    if kind == "pt2":
        export_pt2(model, example, path)
    else:
        export_onnx(model, example, path, int(kind[4:]), dynamo=kind == "onnx18")
    return path
