"""Accuracy as a figure of points: that of `moesaic run`, asked for or not there at all."""

import json
from pathlib import Path
from typing import Any

import pytest

from moesaic.reports.cli import main
from tests.sweep_cases import write_space

IMAGES = 40


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def swept(**changes: Any) -> dict[str, Any]:
    plain = {
        "workloads": [{"model": "vit-mnist"}],
        "parameters": {"model": ["vit-mnist", "vit-mnist-2of8"], "queue_depth": [4, 8]},
        "accuracy_images": IMAGES,
    }
    write_space(Path("space.yaml"), **(plain | changes))
    assert main(["sweep", "space.yaml", "--out", "o"]) == 0
    return dict(json.loads(Path("o/sweep.json").read_text()))


def test_it_is_that_of_a_run() -> None:
    points = swept(objectives=["cycles", "accuracy"])["points"]
    found = {p["parameters"]["model"]: p["figures"]["accuracy"] for p in points}
    for model, share in found.items():
        words = f"run {model} --accel tiny --backend model --images {IMAGES} --out {model}"
        assert main(words.split()) == 0
        run = json.loads(Path(model, "run.json").read_text())
        assert run["accuracy"]["quantised"] == share
        assert 0.5 < share <= 1


def test_a_bound_that_none_keeps(capsys: pytest.CaptureFixture[str]) -> None:
    bounded = {"accuracy": {"min": 0.5}}
    (point,) = swept(constraints=bounded, parameters={"rows": [8]})["points"]
    assert point["feasible"]
    write_space(
        Path("space.yaml"),
        workloads=[{"model": "vit-mnist"}],
        parameters={"rows": [8]},
        constraints={"accuracy": {"max": 0.4}},
        accuracy_images=IMAGES,
    )
    assert main(["sweep", "space.yaml", "--out", "p"]) == 2
    line = capsys.readouterr().err
    assert "constraints.accuracy: none of 1 points is feasible with max 0.4" in line


def test_nobody_asks_for_it() -> None:
    assert "accuracy" not in swept(parameters={"rows": [8]})["points"][0]["figures"]


@pytest.mark.parametrize(
    ("workload", "images", "problem"),
    [
        ({"model": "deit-tiny"}, 4, "deit-tiny: accuracy is not known: its images have no labels"),
        (
            {"model": "moevit-mnist", "task": 1},
            4,
            "accuracy is not known of a task that is measured by rmse",
        ),
        ({"model": "vit-mnist"}, 99_999, "vit-mnist: accuracy_images must be at most"),
    ],
)
def test_models_without_it(
    workload: dict[str, Any], images: int, problem: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_space(
        Path("space.yaml"),
        workloads=[workload],
        parameters={"rows": [8]},
        objectives=["accuracy"],
        accuracy_images=images,
    )
    assert main(["sweep", "space.yaml", "--out", "o"]) == 2
    assert problem in capsys.readouterr().err
    assert not Path("o").exists()
