"""The command line from the outside: what it prints, writes and returns."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesaic.models.accel_io import preset_names
from moesaic.models.data import load_mnist
from moesaic.models.execute import execute
from moesaic.models.register_map import REGISTERS
from moesaic.models.sample_networks import sample_network
from moesaic.models.vit_config import VitConfig
from moesaic.models.zoo import CALIBRATION_FILE, CONVNETS, MODELS, load_model
from moesaic.reports.cli import main
from moesaic.reports.commands.run_command import default_directory

UNITS = {"load", "store", "stationary", "stream", "vector"}
INTEGERS = ("batch", "tokens", "macs", "seed", "layers_compared", "mismatches", "cycles_predicted")
STAGES = {"quantise", "map", "elaborate", "compile", "simulate", "compare"}
SMALL = VitConfig(image=28, channels=1, patch=14, dim=8, depth=1, heads=2, mlp=8, classes=10)
RECIPE = """
name: quick
dataset: mnist
model: {image: 28, channels: 1, patch: 14, dim: 8, depth: 1, heads: 2, mlp: 8, classes: 10}
seed: 3
epochs: 1
batch: 500
learning_rate: 0.001
nm: "2:4"
"""


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run(*words: str, code: int = 0) -> dict[str, Any]:
    """Run and return what ``--json`` wrote, which is what the run's directory holds."""
    assert main(["run", *words, "--json", "run.json", "--out", "out"]) == code
    text = Path("run.json").read_text(encoding="utf-8")
    assert text == Path("out/run.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def check_fields(result: dict[str, Any]) -> None:
    """Check that all that is promised is there, and that figures agree with each other."""
    for name in INTEGERS:
        assert type(result[name]) is int
    cycles = result["cycles_predicted"] if result["cycles_rtl"] is None else result["cycles_rtl"]
    floor = result["cycles_floor"]
    assert floor["max"] == max(floor["compute"], floor["bandwidth"]) <= result["cycles_predicted"]
    assert result["utilisation"] == result["macs"] / (cycles * result["macs_per_cycle"])
    assert result["latency_s"] == cycles / result["clock_hz"]
    assert result["clock_is"] == "assumed"
    assert result["seconds"].keys() >= STAGES
    layers = result["layers"]
    assert sum(layer["macs"] for layer in layers) == result["macs"]
    assert sum(layer["dense_macs"] for layer in layers) == result["dense_macs"]
    assert sum(layer["cycles_predicted"] for layer in layers) == result["cycles_predicted"]
    if result["cycles_rtl"] is not None:
        assert sum(layer["cycles_rtl"] for layer in layers) == result["cycles_rtl"]
    assert sum(layer["bytes_written"] for layer in layers) == result["bytes_written"]
    assert 0 < sum(layer["bytes_read"] for layer in layers) <= result["bytes_read"]
    errors = [layer["float_error"] for layer in layers if layer["float_error"]]
    assert errors
    assert all(error.keys() == {"max_abs", "sqnr_db"} for error in errors)
    assert {command["unit"] for command in result["timeline"]} == UNITS
    assert max(command["end"] for command in result["timeline"]) < cycles


def test_list_names_what_ships(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    text = capsys.readouterr().out
    for name in (*MODELS, *CONVNETS, *preset_names()):
        assert re.search(rf"^  {name}  +\w", text, re.MULTILINE)


def test_list_loads_neither_torch_nor_hardware() -> None:
    code = "import sys; from moesaic.reports.cli import main; main(['list']); print(*sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = out.stdout.splitlines()[-1].split()
    assert not {
        "torch",
        "amaranth",
        "cocotb",
        "onnx",
        "rich",
        "plotly",
        "pydantic",
        "optuna",
    } & set(loaded)


@pytest.mark.parametrize(
    "command", ["run", "import", "train", "verilog", "synth", "sweep", "report"]
)
def test_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: moesaic {command}")


@pytest.mark.xdist_group("tiny")
def test_run_without_rtl() -> None:
    result = run("vit-mnist", "--accel", "tiny", "--backend", "model", "--images", "6")
    check_fields(result)
    assert result["cycles_rtl"] is None
    assert not result["bit_exact"]
    assert result["accuracy"]["images"] == 6
    assert result["accuracy"]["rtl"] is None


@pytest.mark.xdist_group("tiny")
@pytest.mark.parametrize("model", ["vit-mnist", "vit-mnist-2of8"])
def test_run_on_rtl(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    result = run(model, "--accel", "tiny", "--trace", "trace.json")
    check_fields(result)
    assert result["bit_exact"]
    assert result["cycles_exact"]
    assert result["cycles_rtl"] == result["cycles_predicted"]
    assert result["mismatches"] == 0
    assert result["layers_compared"] == len(result["layers"]) - 1  # the input is no layer's output
    assert all(layer["compared"] for layer in result["layers"][1:])
    assert "bit exact           yes: " in capsys.readouterr().out
    check_trace(json.loads(Path("trace.json").read_text()), result)


def check_trace(trace: dict[str, Any], result: dict[str, Any]) -> None:
    """Check that each unit has a track of its own, whose slices do not overlap."""
    assert trace["otherData"]["source"] == "RTL"
    slices = [event for event in trace["traceEvents"] if event["ph"] == "X"]
    tracks = {
        e["tid"]: e["args"]["name"] for e in trace["traceEvents"] if e["name"][:6] == "thread"
    }
    assert set(tracks.values()) == UNITS
    assert len(slices) == len(result["timeline"])
    free = dict.fromkeys(tracks, 0)
    for event in slices:
        assert event["cat"] == tracks[event["tid"]]
        assert event["ts"] >= free[event["tid"]]
        assert event["dur"] >= 0
        free[event["tid"]] = event["ts"] + event["dur"]
    assert max(free.values()) <= result["cycles_rtl"]


@pytest.mark.xdist_group("tiny")
def test_batches_on_rtl_with_stalls() -> None:
    words = ("vit-mnist-2of8", "--accel", "tiny", "--images", "4", "--batch", "2")
    result = run(*words, "--stall", "0.3", "--seed", "5")
    assert result["bit_exact"]
    assert len(result["cycles_rtl_runs"]) == 2
    assert min(result["cycles_rtl_runs"]) > result["cycles_predicted"]
    assert result["cycles_exact"] is False
    assert result["accuracy"]["rtl"] == result["accuracy"]["quantised"]


@pytest.mark.xdist_group("tiny")
def test_a_difference_ends_with_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def wrong(*args: Any, **options: Any) -> dict[str, Any]:
        tensors = dict(execute(*args, **options))
        tensors["blocks.1.attn.q"] = tensors["blocks.1.attn.q"] + np.eye(50, 64, dtype=np.int64)
        return tensors

    monkeypatch.setattr("moesaic.sim.rtl_run.execute", wrong)
    result = run("vit-mnist-2of8", "--accel", "tiny", code=1)
    assert not result["bit_exact"]
    assert result["mismatches"] == 1
    line = capsys.readouterr().err
    assert re.fullmatch(
        r"moesaic: comparison failed: run 1 of 1: blocks\.1\.attn\.q: part 0 of image 0 "
        r"at \(0, 0\): RTL -?\d+, model -?\d+\n",
        line,
    )


@pytest.mark.xdist_group("tiny")
def test_images_from_a_file_are_those_of_the_set() -> None:
    """Bytes are normalised as in training; float images are taken as they are."""
    model = load_model("vit-mnist")
    images = load_mnist().test_images[:3]
    assert model.pixels is not None
    (mean,), (deviation,) = model.pixels
    pixels = np.rint((images[:, 0] * deviation + mean) * 255).astype(np.uint8)
    np.save("pixels.npy", pixels)
    np.save("floats.npy", images.astype(np.float64))
    np.testing.assert_array_equal(model.images_from("pixels.npy"), images)
    np.testing.assert_array_equal(model.images_from("floats.npy"), images)
    result = run("vit-mnist", "--accel", "tiny", "--backend", "model", "--input", "pixels.npy")
    assert result["images"] == 3
    assert result["accuracy"] is None


def test_made_up_images_follow_the_seed() -> None:
    model = load_model("deit-tiny")
    first, labels = model.images(2, 7)
    again, _ = model.images(3, 7)
    other, _ = model.images(2, 8)
    assert labels is None
    np.testing.assert_array_equal(first, again[:2])
    assert not np.array_equal(first, other)
    assert abs(float(first.mean())) < 1e-3
    assert 0.9 < float(first.std()) < 1.1


def test_import_makes_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    import torch

    from moesaic.models.seeded_weights import seeded_weights
    from moesaic.models.torch_zoo.export import export_onnx
    from moesaic.models.torch_zoo.vit import build_vit

    model = build_vit(SMALL, seeded_weights(SMALL, 1))
    export_onnx(model, torch.zeros(1, 1, 28, 28), Path("small.onnx"), dynamo=False)
    np.save(
        "images.npy", np.random.default_rng(1).normal(size=(3, 28, 28, 1)).transpose(0, 3, 1, 2)
    )
    for words, count in (((), 4), (("--calibrate", "images.npy"), 3)):
        assert main(["import", "small.onnx", "--out", "small", *words]) == 0
        assert len(np.load(f"small/{CALIBRATION_FILE}")) == count
        assert ("made-up" in capsys.readouterr().out) == (not words)
        result = run("small", "--accel", "tiny", "--backend", "model", "--images", str(count))
        check_fields(result)
        assert result["model"] == "small"
    assert sorted(path.name for path in Path("small").iterdir()) == [
        CALIBRATION_FILE,
        "network.json",
        "weights.npz",
    ]


def test_train_makes_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    Path("quick.yaml").write_text(RECIPE)
    assert main(["train", "quick.yaml", "--out", "model"]) == 0
    assert "epoch 1/1  loss " in capsys.readouterr().out
    history = json.loads(Path("model/training.json").read_text())
    assert len(history["history"]) == 1
    result = run("model", "--accel", "tiny", "--backend", "model", "--images", "50")
    check_fields(result)
    assert result["accuracy"]["images"] == 50
    assert {layer["nm"] for layer in result["layers"]} == {None, "2:4"}
    assert result["macs"] < result["dense_macs"]


def test_runs_of_each_task_have_a_directory() -> None:
    assert default_directory("zoo/my model", "tiny") == Path("runs/my-model-tiny")
    assert default_directory("m3vit-tiny", "zcu102", 1) == Path("runs/m3vit-tiny-zcu102-task1")


def test_a_model_of_any_form_runs() -> None:
    from moesaic.models.network_io import save_network

    network = sample_network("postnorm")
    save_network(network, "tokens")
    np.save(f"tokens/{CALIBRATION_FILE}", np.random.default_rng(2).normal(size=(2, 10, 12)))
    check_fields(run("tokens", "--accel", "tiny", "--backend", "model"))


@pytest.mark.xdist_group("tiny")
def test_verilog_is_the_same_each_time() -> None:
    for out in ("a", "b"):
        assert main(["verilog", "--accel", "tiny", "--out", out]) == 0
    files = sorted(path.name for path in Path("a").iterdir())
    assert files == sorted(path.name for path in Path("b").iterdir())
    for name in files:
        assert (Path("a") / name).read_bytes() == (Path("b") / name).read_bytes()
    verilog = Path("a/moesaic_top.sv").read_text()
    assert verilog.startswith("// moesaic accelerator tiny; top module moesaic_top\n")
    assert "// rows: 8\n" in verilog
    assert len(re.findall(r"^module moesaic_top\b", verilog, re.MULTILINE)) == 1
    registers = Path("a/registers.md").read_text()
    assert all(f"`{register.name}`" in registers for register, _ in REGISTERS)
    assert main(["run", "vit-mnist", "--accel", "a/accel.yaml", "--backend", "model"]) == 0


@pytest.mark.xdist_group("tiny")
def test_report_of_a_run() -> None:
    run("vit-mnist", "--accel", "tiny", "--backend", "model")
    assert main(["report", "out"]) == 0
    assert "vit-mnist" in Path("out/report.html").read_text()
    run("vit-mnist", "--accel", "tiny", "--backend", "model")  # replaces the directory
    assert [path.name for path in Path("out").iterdir()] == ["run.json"]
