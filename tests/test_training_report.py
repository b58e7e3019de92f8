"""The report of a training run: its figures are those of training.json."""

import json
from pathlib import Path
from typing import Any

import pytest

from moesaic.models.errors import InputError
from moesaic.reports.html import build_report
from tests.page_tools import HOSTILE, Page

HISTORY = [
    {"epoch": n + 1, "epochs": 3, "loss": 2.5 / (n + 1), "holdout_top1": 0.5 + n / 10, "seconds": n}
    for n in range(3)
]
RECORD: dict[str, Any] = {
    "recipe": {"name": "small", "epochs": 3, "model": {"depth": 2}, "method": None},
    "history": HISTORY,
    "seconds": 12.5,
    "accuracy": {"metric": "top1", "float": 0.875, "images": 40},
}


def page_of(folder: Path, **changes: Any) -> Page:
    """Return the page of a record."""
    (folder / "training.json").write_text(json.dumps(RECORD | changes))
    return Page(build_report(folder).read_text())


def test_page_has_the_figures(tmp_path: Path) -> None:
    page = page_of(tmp_path)
    text = " ".join(page.texts)
    for figure in ("87.5", "of 40 images", "0.8333", "2.5000 in the first epoch"):
        assert figure in text
    tips = [tip for tip in page.values("data-tip") if tip.startswith("epoch")]
    assert tips == [
        *("epoch 1: 2.5", "epoch 2: 1.25", "epoch 3: 0.833333"),
        *("epoch 1: 0.5", "epoch 2: 0.6", "epoch 3: 0.7"),
    ]
    assert ["model.depth", "2"] in page.tables["recipe"]
    assert ["method", "none"] in page.tables["recipe"]


def test_tasks_and_missing_measurements(tmp_path: Path) -> None:
    tasks = [
        {"metric": "accuracy", "float": 0.95, "images": 20},
        {"metric": "rmse", "float": 0.1245, "images": 20},
    ]
    history = [epoch | {"holdout_top1": None} for epoch in HISTORY]
    page = page_of(tmp_path, accuracy=None, tasks=tasks, history=history)
    assert "0.1245" in " ".join(page.texts)
    assert len([tip for tip in page.values("data-tip") if tip.startswith("epoch")]) == 3


def test_text_cannot_break_out(tmp_path: Path) -> None:
    page = page_of(tmp_path, recipe={"name": HOSTILE, HOSTILE: HOSTILE})
    assert not [name for name, _ in page.elements if name == "img"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"history": []}, "history must have at least one epoch"),
        ({"seconds": "long"}, "seconds must be a number"),
        ({"accuracy": {"metric": "top1"}}, "accuracy"),
    ],
)
def test_refuses_foreign_fields(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        page_of(tmp_path, **changes)
