"""Bad input of every kind: exit code 2, one line on stderr that names it, nothing left behind."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesaic.models.network_io import load_network, save_network
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.models.zoo import CALIBRATION_FILE
from moesaic.reports.cli import main

ACCEL = "rows: 8\ncolumns: 8\nlanes: 8\n"
BOMB = "a: &a [x, x]\nb: &b [*a, *a]\nrows: [*b, *b]\n"
RUN = "run {model} --backend model --accel"
TINY = f"{RUN} tiny"
STEP = "step vit-mnist --accel tiny-train --backend model"


def npy(array: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text: str, version: bytes = b"\1\0") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode()


def images(*shape: int, kind: Any = np.float32, value: float = 0.5) -> bytes:
    return npy(np.full(shape, value, dtype=kind))


FLOATS = "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }\n"
ACCELERATORS: dict[str, tuple[str | bytes, str]] = {
    "negative and unknown": ("rows: -3\nnonsense: 1\n", "nonsense"),
    "negative": ("rows: -3\ncolumns: 8\nlanes: 8\n", "rows must be in 4..256, not -3"),
    "zero": (ACCEL + "bus_bytes: 0\n", "bus_bytes"),
    "huge": (ACCEL + "kv_words: 99999999999999999999\n", "kv_words must be in"),
    "no power of two": ("rows: 12\ncolumns: 8\nlanes: 8\n", "rows must be a power of two"),
    "text": ("rows: eight\ncolumns: 8\nlanes: 8\n", "rows must be an integer"),
    "bool": ("rows: true\ncolumns: 8\nlanes: 8\n", "rows must be an integer"),
    "float": ("rows: 8.0\ncolumns: 8\nlanes: 8\n", "rows must be an integer"),
    "null": ("rows: 8\ncolumns: null\nlanes: 8\n", "columns must be an integer"),
    "missing": ("rows: 8\nlanes: 8\n", "columns is missing"),
    "list": ("- rows\n- columns\n", "must be a mapping"),
    "empty": ("", "must be a mapping"),
    "unclosed": ("rows: [8\n", "not valid YAML"),
    "bomb": (BOMB, "aliases are not allowed"),
    "python object": ("rows: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
    "repeated": (ACCEL + "rows: 8\n", "key 'rows' is repeated"),
    "nested": ("rows: " + "[" * 3000, "nested too deeply"),
    "not text": (b"rows: \xff\xfe\n", "not valid YAML"),
    "binary": (bytes(range(256)), "accel.yaml"),
    "large": (ACCEL + "#" * 70_000, "at most 65536 bytes"),
    "name": (ACCEL + "name: ../up\n", "name must be"),
    "width": (ACCEL + "data_bits: 4\n", "data_bits must be 8 or 16, not 4"),
    "gelu": (ACCEL + "gelu: erf\n", "gelu must be one of table, polynomial, not 'erf'"),
    "gelu list": (ACCEL + "gelu: [table]\n", "gelu must be one of table, polynomial, not"),
    "bus": (ACCEL + "bus_bytes: 64\n", "bus_bytes must be at most"),
    "bus and residual": (
        "rows: 32\ncolumns: 8\nlanes: 8\nbus_bytes: 32\n",
        "bus_bytes must be at most 16 (bytes of a weight or index line and of a residual word",
    ),
    "sparsity no list": (ACCEL + "sparsity: 2:4\n", "sparsity must be a list"),
    "sparsity": (ACCEL + "sparsity: ['3:4']\n", "sparsity must be N:M"),
    "sparsity without room": (ACCEL + "sparsity: ['2:4']\n", "index_lines"),
    "memory rate": (ACCEL + "memory: {bytes_per_cycle: -1}\n", "memory.bytes_per_cycle"),
    "memory nan": (ACCEL + "memory: {bytes_per_cycle: .nan}\n", "memory.bytes_per_cycle"),
    "memory latency": (ACCEL + "memory: {latency: 0}\n", "memory.latency"),
    "memory key": (ACCEL + "memory: {speed: 1}\n", "speed"),
    "memory number": (ACCEL + "memory: 8\n", "memory must be a mapping"),
    "clock": (ACCEL + "clock_hz: 0\n", "clock_hz"),
    "weights do not fit": (ACCEL + "weight_lines: 8\n", "weight_lines"),
    "keys do not fit": (ACCEL + "kv_words: 8\n", "kv_words must be at least"),
    "scores do not fit": (ACCEL + "score_words: 8\n", "score_words must be at least"),
    "residual does not fit": (ACCEL + "residual_words: 8\n", "residual_words must be at least"),
    "activations do not fit": (ACCEL + "act_words: 8\n", "act_words must be at least"),
}
ARGUMENTS: dict[str, tuple[str, str]] = {
    "no command": ("", "COMMAND"),
    "unknown command": ("fly", "fly"),
    "sweep of nothing": ("sweep nosuch --out o", "not 'nosuch'"),
    "sweep of no space": ("sweep {model}/network.json --out o", "SPACE must be a YAML file or one"),
    "sweep without out": ("sweep ecp5-vit", "--out"),
    "sweep onto something": ("sweep ecp5-vit --out {model}", "holds no sweep.db"),
    "sweep that is not there": ("sweep ecp5-vit --out o --resume", "o holds no sweep.db"),
    "sweep by nobody": ("sweep ecp5-vit --out o --jobs 0", "--jobs"),
    "sweep by two kinds": ("sweep ecp5-vit --out o --jobs 2 --scheduler x", "not allowed with"),
    "step on integers": ("step vit-mnist --accel tiny", "needs fp16 or bf16"),
    "step without N:M": ("step vit-mnist --accel tiny-train --method bdwp", "--nm must be given"),
    "step, no N:M": ("step vit-mnist --accel tiny-train --method bdwp --nm 2x8", "not '2x8'"),
    "step, N:M of other machines": (
        "step vit-mnist --accel tiny-train --method bdwp --nm 2:16",
        "--nm must be one of 2:4, 1:4, 2:8, 1:8 on tiny-train, not 2:16",
    ),
    "step of unknown method": ("step vit-mnist --accel tiny-train --method fast", "'fast'"),
    "step without images": ("step vit-mnist --accel tiny-train --batch 0", "0"),
    "step without labels": ("step deit-tiny --accel tiny-train", "needs images with labels"),
    "step with experts": ("step moevit-mnist --accel tiny-train --batch 1", "training has no Gate"),
    "step beyond the memories": (
        "step vit-mnist --accel tiny-train --batch 64 --backend model",
        "float_words must be larger",
    ),
    "step out is in use": (f"{STEP} --out {{model}}", "holds no step.json"),
    "step out is a file": (f"{STEP} --out {{model}}/network.json", "holds no step.json"),
    "step out cannot be made": (f"{STEP} --out /proc/moesaic", "/proc/moesaic"),
    "step out of no name": (f"{STEP} --out ''", "--out"),
    "unknown model": ("run nosuch --accel tiny", "not 'nosuch'"),
    "empty model": ("run '' --accel tiny", "not ''"),
    "model is a file": ("run {model}/network.json --accel tiny", "network.json"),
    "model is another directory": ("run {here} --accel tiny", "directory with network.json"),
    "unknown preset": (f"{RUN} tyni", "not 'tyni'"),
    "no accelerator": ("run vit-mnist", "--accel"),
    "no such file": (f"{RUN} none.yaml", "none.yaml: cannot be read"),
    "directory as accelerator": (f"{RUN} {{here}}", "cannot be read"),
    "unknown option": (f"{TINY} --speed 9", "--speed"),
    "abbreviated option": (f"{TINY} --image 3", "--image"),
    "option without value": (f"{TINY} --images", "--images"),
    "backend": ("run {model} --accel tiny --backend gpu", "gpu"),
    "no images": (f"{TINY} --images 0", "--images: must be an integer in 1.."),
    "negative images": (f"{TINY} --images -1", "not '-1'"),
    "images in words": (f"{TINY} --images three", "not 'three'"),
    "fractional images": (f"{TINY} --images 1.5", "not '1.5'"),
    "endless images": (f"{TINY} --images {'9' * 5000}", "--images"),
    "more images than there are": (f"{TINY} --images 5", "images must be in 1..4"),
    "larger batch than there are": (f"{TINY} --batch 8", "--batch: images must be in 1..4"),
    "no batch": (f"{TINY} --batch 0", "--batch: must be an integer in 1..64"),
    "large batch": (f"{TINY} --batch 65", "not '65'"),
    "broken batch": (f"{TINY} --images 3 --batch 2", "multiple of --batch = 2, not 3"),
    "negative seed": (f"{TINY} --seed -1", "--seed"),
    "large seed": (f"{TINY} --seed 2147483648", "--seed"),
    "negative stall": ("run {model} --accel tiny --stall -0.1", "--stall"),
    "certain stall": ("run {model} --accel tiny --stall 1", "--stall: must be a number in 0..0.9"),
    "no number as stall": ("run {model} --accel tiny --stall nan", "not 'nan'"),
    "stall without RTL": (f"{TINY} --stall 0.5", "--stall needs --backend rtl"),
    "task that there is not": (f"{TINY} --task 1", "task must be in 0..0, not 1"),
    "negative task": (f"{TINY} --task -1", "--task: must be an integer in 0.."),
    "waves of unknown kind": ("run {model} --accel tiny --waves w.txt", "must end in .vcd or .fst"),
    "waves without RTL": (f"{TINY} --waves w.vcd", "--waves needs --backend rtl"),
    "waves nowhere": ("run {model} --accel tiny --waves no/w.vcd", "--waves"),
    "input and images": (f"{TINY} --images 1 --input x.npy", "exclude each other"),
    "json is a directory": (f"{TINY} --json {{here}}", "is a directory"),
    "json nowhere": (f"{TINY} --json no/where.json", "--json"),
    "json of no name": (f"{TINY} --json ''", "--json"),
    "trace nowhere": (f"{TINY} --trace no/where.json", "--trace"),
    "out is in use": (f"{TINY} --out {{model}}", "holds no run.json"),
    "out is a file": (f"{TINY} --out {{model}}/network.json", "holds no run.json"),
    "out below a file": (f"{TINY} --out {{model}}/network.json/x", "--out"),
    "out cannot be made": (f"{TINY} --out /proc/moesaic", "/proc/moesaic"),
    "import nothing": ("import none.onnx --out o", "none.onnx: cannot be read"),
    "import a directory": ("import {here} --out o", "cannot be read"),
    "import text": ("import {model}/network.json --out o", "network.json: "),
    "import without out": ("import {model}/network.json", "--out"),
    "import onto something": ("import x.onnx --out {here}", "holds no network.json"),
    "unknown recipe": ("train nosuch --out o", "nosuch: cannot be read"),
    "recipe of another kind": ("train {model}/network.json --out o", "network.json: unknown key"),
    "train onto something": ("train vit-mnist --out {here}", "holds no network.json"),
    "verilog of nothing": ("verilog --accel tyni --out o", "not 'tyni'"),
    "verilog onto something": ("verilog --accel tiny --out {model}", "holds no moesaic.f"),
    "synth for nothing": ("synth --accel tiny --target asic", "asic"),
    "synth of nothing": ("synth --accel tyni --target xcup", "not 'tyni'"),
    "run on a machine for training": (f"{RUN} tiny-train", "is for training"),
    "verilog of a machine for training": ("verilog --accel tiny-train --out o", "is for training"),
    "synth of a machine for training": ("synth --accel tiny-train --target xcup", "for training"),
    "ablate on a machine for training": ("ablate vit-mnist --accel tiny-train", "for training"),
    "report of nothing": ("report none", "none: must be the directory of a run"),
    "report of a file": ("report {model}/network.json", "must be the directory"),
    "report of no run": ("report {model}", "run.json"),
}
INPUTS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "must be an array"),
    "text": (b"1, 2, 3\n", "must be an array"),
    "archive": (b"PK\3\4" + bytes(100), "must be an array"),
    "other size": (images(2, 1, 6, 7), "(2, 1, 6, 7)"),
    "other channels": (images(2, 3, 6, 6), "(2, 3, 6, 6)"),
    "flat": (images(36), "shape (36,)"),
    "no images": (images(0, 1, 6, 6), "at least one image"),
    "scalar": (npy(np.float32(1)), "at least one image"),
    "nan": (images(1, 1, 6, 6, value=np.nan), "NaN or infinity"),
    "infinity": (images(1, 6, 6, kind=np.float64, value=-np.inf), "NaN or infinity"),
    "beyond float32": (images(1, 6, 6, kind=np.float64, value=1e300), "NaN or infinity"),
    "int64": (images(1, 6, 6, kind=np.int64), "dtype must be one of uint8"),
    "bytes of unknown scale": (images(1, 6, 6, kind=np.uint8), "not uint8"),
    "complex": (images(1, 6, 6, kind=np.complex64), "complex64"),
    "text array": (npy(np.array(["a", "b"])), "dtype"),
    "pickle": (npy(np.array([{}, []], dtype=object)), "dtype"),
    "truncated": (images(2, 1, 6, 6)[:-1], "truncated"),
    "longer": (images(2, 1, 6, 6) + b"x", "truncated or longer"),
    "half a header": (images(2, 1, 6, 6)[:40], "in.npy: "),
    "huge shape": (header(FLOATS % "(1000000000, 1000000000)"), "truncated"),
    "negative shape": (header(FLOATS % "(-1, 36)"), "shape"),
    "no shape": (header(FLOATS % "'x'"), "in.npy: "),
    "code as header": (header("__import__('os').getcwd()\n"), "in.npy: "),
    "nested header": (header("(" * 4000 + "\n"), "in.npy: "),
    "version": (header(FLOATS % "(1, 36)", b"\x09\0"), "in.npy: "),
    "broken batch": (images(3, 1, 6, 6), "multiple of --batch = 2, not 3"),
}


@pytest.fixture(scope="module")
def kept_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model") / "small"
    network = sample_network("prenorm")
    save_network(network, folder, {CALIBRATION_FILE: npy(sample_images(network, 4))})
    return folder


@pytest.fixture
def model(kept_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Copy a good model into an empty working directory."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(kept_model, tmp_path / "small"))


def tree(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*")}


def refuse(line: str, model: Path, named: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check what a bad command line must do, all of it."""
    words = [word if word != "''" else "" for word in line.split()]
    before = tree(model.parent)
    code = main([word.format(model=model, here=model.parent) for word in words])
    lines = capsys.readouterr().err.splitlines()
    assert code == 2
    assert len(lines) == 1
    assert named in lines[0]
    assert lines[0].isprintable()
    assert tree(model.parent) == before


@pytest.mark.parametrize("case", ARGUMENTS)
def test_arguments(case: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refuse(*ARGUMENTS[case][:1], model, ARGUMENTS[case][1], capsys)


@pytest.mark.parametrize("case", ACCELERATORS)
def test_accelerators(case: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text, named = ACCELERATORS[case]
    file = model.parent / "accel.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    refuse(f"{RUN} accel.yaml", model, named, capsys)


@pytest.mark.parametrize("case", INPUTS)
def test_images(case: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    content, named = INPUTS[case]
    (model.parent / "in.npy").write_bytes(content)
    refuse(f"{TINY} --input in.npy --batch {2 if 'batch' in case else 1}", model, named, capsys)


@pytest.mark.parametrize("case", ["nan", "foreign", "truncated", "missing"])
def test_calibration(case: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = model / CALIBRATION_FILE
    good = file.read_bytes()
    content = {"nan": images(2, 1, 6, 6, value=np.nan), "foreign": images(2, 1, 7, 6)}
    file.write_bytes(content.get(case, good[:-5]))
    if case == "missing":
        file.unlink()
    refuse(TINY, model, f"{CALIBRATION_FILE}: ", capsys)


DAMAGE: dict[str, tuple[str, Any]] = {
    "unknown operator": ("op", "Convolution"),
    "wrong type": ("height", "six"),
    "huge": ("height", 1 << 40),
    "negative": ("patch", -1),
    "other size": ("width", 8),
    "unknown key": ("colour", 1),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_models(case: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = model / "network.json"
    document = json.loads(file.read_text())
    key, value = DAMAGE[case]
    document["layers"][0][key] = value
    file.write_text(json.dumps(document))
    refuse(TINY, model, "network.json: ", capsys)


@pytest.mark.parametrize("name", ["network.json", "weights.npz"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe{", b"{" * 20_000], ids=("empty", "raw", "deep")
)
def test_foreign_files(
    name: str, content: bytes, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (model / name).write_bytes(content)
    refuse(TINY, model, f"{name}: ", capsys)


@pytest.mark.parametrize("name", ["network.json", "weights.npz"])
def test_truncated_files(name: str, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (model / name).write_bytes((model / name).read_bytes()[:-100])
    refuse(TINY, model, f"{name}: ", capsys)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_without_end(value: float, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    archive = dict(np.load(model / "weights.npz"))
    archive["head.weight"][0, 0] = value
    np.savez(model / "weights.npz", **archive)
    refuse(TINY, model, "'head': weight must be finite", capsys)


def test_data_set_that_does_not_fit(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = replace(load_network(model), labels={"dataset": "mnist"})
    save_network(network, model)
    refuse(TINY, model, "network.json: dataset 'mnist'", capsys)


@pytest.mark.parametrize("content", [b"{}", b"", b"[1", b'{"model": NaN}'])
def test_runs(content: bytes, model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = model.parent / "run"
    folder.mkdir()
    (folder / "run.json").write_bytes(content)
    refuse("report run", model, "run.json: ", capsys)


def test_an_interrupt_leaves_nothing(
    model: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("moesaic.sim.experiment.predict", interrupted)
    before = tree(model.parent)
    assert main([*TINY.format(model=model).split(), "--json", "j.json"]) == 130
    assert capsys.readouterr().err == "moesaic: interrupted\n"
    assert tree(model.parent) == before
