"""Ablation: rows are runs, each changes one thing, and differences are told."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesaic.models.accel import AccelSpec
from moesaic.models.network_io import save_network
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.models.zoo import CALIBRATION_FILE
from moesaic.reports import ablation
from moesaic.reports.ablation import VARIANTS, ablate, table
from moesaic.reports.cli import main
from moesaic.sim.options import RunOptions

WITHOUT_EXPERTS = [variant.name for variant in VARIANTS if not variant.routed]


def save_model(form: str, folder: Path) -> str:
    network = sample_network(form, tokens=33, dim=24)
    save_network(network, folder)
    np.save(folder / CALIBRATION_FILE, sample_images(network, 3))
    return str(folder)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return save_model("prenorm", tmp_path_factory.mktemp("model") / "sample")


def counted(spec: AccelSpec, target: str) -> dict[str, Any]:
    """Stand in for synthesis: three arrays, three times the DSP blocks."""
    dsp = 30 if spec.arrays == "separate" else 10
    return {"totals": {"dsp": dsp, "bram36": 2.5, "lut": 1000, "ff": 7}, "limits": {"dsp": 20}}


def test_rows_cost_what_they_should(model: str) -> None:
    seen: list[tuple[int, int, str]] = []
    options = RunOptions(model=model, accel="tiny", backend="model")
    result = ablate(options, lambda *step: seen.append(step), resources=False)
    names = WITHOUT_EXPERTS
    assert [row["name"] for row in result["rows"]] == names
    assert [name for _, _, name in seen] == [*names, ""]
    assert seen[-1][:2] == (len(names), len(names))
    cycles = {row["name"]: row["cycles_predicted"] for row in result["rows"]}
    assert cycles["attention in plain order"] > cycles["as it is"]
    assert cycles["softmax in three passes"] > cycles["softmax in two passes"] > cycles["as it is"]
    assert cycles["GELU by a polynomial"] == cycles["as it is"]
    assert cycles["an array for each kind"] == cycles["as it is"]
    for row in result["rows"]:
        assert row["slower"] == row["cycles_predicted"] / cycles["as it is"]
    assert result["accel"] == "tiny"
    assert all("not run" in line for line in table(result).splitlines()[1:])


def test_experts_token_by_token_are_slower(tmp_path: Path) -> None:
    options = RunOptions(
        model=save_model("experts", tmp_path / "moe"), accel="tiny", backend="model"
    )
    rows = ablate(options, resources=False)["rows"]
    assert [row["name"] for row in rows] == [variant.name for variant in VARIANTS]
    assert rows[-1]["slower"] > 1
    assert rows[-1]["bytes_read"] > rows[0]["bytes_read"]


def test_a_difference_is_told(model: str) -> None:
    result = ablate(RunOptions(model=model, accel="tiny", backend="model"), resources=False)
    row = result["rows"][1]
    row |= {"cycles_rtl": row["cycles_predicted"], "bit_exact": True, "cycles_exact": True}
    assert "equal in bits and cycles" in table(result).splitlines()[2]
    row |= {"bit_exact": False, "failures": ["run 1 of 1: head: ..."]}
    assert "DIFFERS: run 1 of 1: head" in table(result).splitlines()[2]


def test_command(model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, out = tmp_path / "ablation.json", tmp_path / "out"
    words = ["ablate", model, "--accel", "tiny", "--backend", "model", "--no-synth"]
    assert main([*words, "--json", str(file), "--out", str(out)]) == 0
    assert len(json.loads(file.read_text())["rows"]) == len(WITHOUT_EXPERTS)
    assert "softmax in two passes" in capsys.readouterr().out
    assert "softmax in two passes" in (out / "report.html").read_text()
    assert main(["ablate", "nosuch", "--accel", "tiny"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_resources_are_those_of_the_rows_machine(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ablation, "synthesise", counted)
    result = ablate(RunOptions(model=model, accel="tiny", backend="model"))
    used = {row["name"]: row["resources"]["dsp"] for row in result["rows"]}
    assert used.pop("an array for each kind") == 30
    assert set(used.values()) == {10}
    assert result["limits"] == {"dsp": 20}
    assert "2.5" in table(result)
