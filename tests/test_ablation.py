"""Ablation: rows are runs, each changes one thing, and differences are told."""

import json
from pathlib import Path

import numpy as np
import pytest

from moesaic.models.network_io import save_network
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.models.zoo import CALIBRATION_FILE
from moesaic.reports.ablation import VARIANTS, ablate, table
from moesaic.reports.cli import main
from moesaic.sim.options import RunOptions


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("model") / "sample"
    network = sample_network("prenorm", tokens=33, dim=24)
    save_network(network, folder)
    np.save(folder / CALIBRATION_FILE, sample_images(network, 3))
    return str(folder)


def test_rows_cost_what_they_should(model: str) -> None:
    seen: list[tuple[int, int, str]] = []
    options = RunOptions(model=model, accel="tiny", backend="model")
    result = ablate(options, lambda *step: seen.append(step))
    names = [variant.name for variant in VARIANTS]
    assert [row["name"] for row in result["rows"]] == names
    assert seen == [*((i, 5, name) for i, name in enumerate(names)), (5, 5, "")]
    cycles = {row["name"]: row["cycles_predicted"] for row in result["rows"]}
    assert cycles["attention in plain order"] > cycles["as it is"]
    assert cycles["softmax in three passes"] > cycles["softmax in two passes"] > cycles["as it is"]
    assert cycles["GELU by a polynomial"] == cycles["as it is"]
    for row in result["rows"]:
        assert row["slower"] == row["cycles_predicted"] / cycles["as it is"]
    assert result["accel"] == "tiny"
    assert all("not run" in line for line in table(result).splitlines()[1:])


def test_a_difference_is_told(model: str) -> None:
    result = ablate(RunOptions(model=model, accel="tiny", backend="model"))
    row = result["rows"][1]
    row |= {"cycles_rtl": row["cycles_predicted"], "bit_exact": True, "cycles_exact": True}
    assert "equal in bits and cycles" in table(result).splitlines()[2]
    row |= {"bit_exact": False, "failures": ["run 1 of 1: head: ..."]}
    assert "DIFFERS: run 1 of 1: head" in table(result).splitlines()[2]


def test_command(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "ablation.json"
    words = ["ablate", model, "--accel", "tiny", "--backend", "model", "--json", str(file)]
    assert main(words) == 0
    assert len(json.loads(file.read_text())["rows"]) == len(VARIANTS)
    assert "softmax in two passes" in capsys.readouterr().out
    assert main(["ablate", "nosuch", "--accel", "tiny"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
