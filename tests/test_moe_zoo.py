"""Models with experts as commands take them: tasks, metrics, routing of the made-up ones."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml

from moesaic.models.accuracy import METRICS, float_results, patch_accuracy, rmse
from moesaic.models.canvases import (
    BACKGROUND,
    BACKGROUND_DEPTH,
    CANVAS_CLASSES,
    TRAIN,
    make_canvases,
)
from moesaic.models.errors import InputError
from moesaic.models.expert_tables import TABLES, main
from moesaic.models.float_run import run_float
from moesaic.models.input_matrix import image_layer
from moesaic.models.moe_config import M3VIT_TINY, MOEVIT_MNIST, SEEDED_MOE_PRESETS
from moesaic.models.network import Add, Attention, Experts, Gate, Gelu, Linear
from moesaic.models.recipes import CanvasRecipe, load_recipe
from moesaic.models.routing_statistics import (
    choices_by_class,
    class_information,
    gate_values,
    queue_lengths,
    used_experts,
)
from moesaic.models.seeded_moe import seeded_moe_weights
from moesaic.models.weights_io import save_weights, weights_path
from moesaic.models.zoo import CANVAS_MODELS, MODELS, TASKS_FILE, load_model
from moesaic.models.zoo_moe import moe_network
from moesaic.reports.cli import main as moesaic
from moesaic.reports.figures import metric_name, metric_text

DOCS = Path(__file__).parents[1] / "docs" / "models.md"
CANVASES = 2000


def test_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert moesaic(["list"]) == 0
    listed = capsys.readouterr().out
    for name in (*CANVAS_MODELS, *SEEDED_MOE_PRESETS):
        assert name in MODELS
        assert len(re.findall(rf"^  {name} ", listed, re.MULTILINE)) == 1 + (name != "m3vit-small")


@pytest.mark.parametrize("task", [-1, 2, True, "0"])
@pytest.mark.parametrize("name", ["moevit-mnist", "m3vit-tiny"])
def test_a_task_that_there_is_not_is_refused(name: str, task: int) -> None:
    with pytest.raises(InputError, match=rf"^task must be in 0\.\.1, not {task!r}$"):
        load_model(name, task)


@pytest.mark.parametrize("name", ["vit-mnist", "deit-tiny"])
def test_models_without_tasks_take_task_0_only(name: str) -> None:
    model = load_model(name, 0)
    assert (model.task, model.tasks, model.metric) == (0, 1, "top1")
    with pytest.raises(InputError, match=r"^task must be in 0\.\.0, not 1$"):
        load_model(name, 1)


@pytest.mark.parametrize("name", CANVAS_MODELS)
def test_canvas_models_bring_images_labels_and_metrics(name: str) -> None:
    digit, depth = (load_model(name, task) for task in (0, 1))
    assert (digit.metric, depth.metric) == ("accuracy", "rmse")
    assert digit.available == depth.available == CANVASES
    layer = image_layer(digit.network)
    np.testing.assert_array_equal(digit.calibration, make_canvases(layer, TRAIN, 100).images)
    images, classes = digit.images(3, 7)
    again, depths = depth.images(2, 0)
    np.testing.assert_array_equal(images[:2], again)
    assert classes is not None
    assert depths is not None
    assert classes.shape == (3, 64)
    assert ((depths == BACKGROUND_DEPTH) == (classes[:2] == CANVAS_CLASSES - 1)).all()
    assert digit.pixels is not None
    assert weights_path(name).stat().st_size < 1_000_000


def stated(name: str) -> list[float]:
    """Read both tasks' metrics that docs/models.md states for a network."""
    row = re.search(rf"^\| `{name}` \|.*", DOCS.read_text(), re.MULTILINE)
    assert row, name
    cells = [cell.strip().rstrip("%") for cell in row[0].strip("|").split("|")]
    return [float(cells[i]) for i in (3, 5)]


def measured(name: str, task: int, canvases: int) -> float:
    """Measure on the first test canvases."""
    model = load_model(name, task)
    images, labels = model.images(canvases, 0)
    assert labels is not None
    return METRICS[model.metric](float_results(model.network, images, batch=20), labels)


@pytest.mark.parametrize("name", CANVAS_MODELS)
def test_shipped_weights_are_about_as_good_as_stated(name: str) -> None:
    """On 150 of the canvases, patch accuracy within a point and rmse within 0.01, either way."""
    accuracy, error = (measured(name, task, 150) for task in (0, 1))
    assert abs(100 * accuracy - stated(name)[0]) <= 1
    assert abs(error - stated(name)[1]) <= 0.01


@pytest.mark.nightly
def test_shipped_weights_are_as_good_as_stated_and_experts_no_worse() -> None:
    """Patch accuracy within 0.03 points and rmse within 0.0003, either way."""
    found = {name: [measured(name, task, CANVASES) for task in (0, 1)] for name in CANVAS_MODELS}
    for name, (accuracy, error) in found.items():
        assert abs(100 * accuracy - stated(name)[0]) <= 0.03
        assert abs(error - stated(name)[1]) <= 0.0003
    routed, dense = (found[name] for name in ("moevit-mnist", "densevit-canvas"))
    assert routed[0] >= dense[0]
    assert routed[1] <= dense[1]


def test_experts_specialise() -> None:
    """Which expert a patch goes to tells of its class; of the digit, in block 3 of task 0 alone."""
    for task in (0, 1):
        model = load_model("moevit-mnist", task)
        canvases = make_canvases(image_layer(model.network), "test", 60)
        shuffled = np.random.default_rng(0).permuted(canvases.digits, axis=1)
        real, chance = (
            choices_by_class(model.network, canvases.images, classes, CANVAS_CLASSES)
            for classes in (canvases.digits, shuffled)
        )
        assert len(real) == 2
        for gate, table in real.items():
            assert table.sum() == 2 * 60 * 64
            assert class_information(table) > 20 * class_information(chance[gate])
            assert 0.3 < class_information(table) < 1.2
            by_digit = class_information(table[:, :BACKGROUND])
            assert by_digit < 0.06 or (gate, task) == ("blocks.3.moe.gate", 0)
        if not task:
            digits = [t["blocks.3.moe.gate"][:, :BACKGROUND] for t in (real, chance)]
            assert 0.2 < class_information(digits[0]) < 0.5
            assert class_information(digits[1]) < 0.06


def test_information_is_that_of_the_definition() -> None:
    assert abs(class_information(np.eye(4, dtype=np.int64)) - 2) < 1e-12
    assert abs(class_information(np.ones((4, 3), dtype=np.int64))) < 1e-12


def test_made_up_routing_is_uneven_as_in_use() -> None:
    """About 12.5 of 16 experts have tokens, differing by image and task; many have few."""
    found = []
    for task in (0, 1):
        model = load_model("m3vit-tiny", task)
        images = np.concatenate([model.images(3, seed)[0] for seed in (0, 1)])
        lengths = queue_lengths(model.network, images)
        assert len(lengths) == 6
        every = np.stack(list(lengths.values()))
        assert every.shape == (6, 6, 16)
        assert (every.sum(axis=2) == 2 * 129).all()
        used = used_experts(lengths)
        assert 11.8 <= used.mean() <= 13
        assert ((used >= 11) & (used <= 14)).mean() > 0.7
        assert len({tuple(row) for row in used.tolist()}) == len(used)
        assert 50 <= np.median(every.max(axis=2)) <= 100
        assert (every == 1).any()
        found.append(every)
    first, second = (every.reshape(6, -1).astype(float) for every in found)
    cosine = (first * second).sum() / np.sqrt((first**2).sum() * (second**2).sum())
    assert cosine < 0.6


@pytest.mark.parametrize("task", [0, 1])
def test_made_up_activations_stay_in_range(task: int) -> None:
    model = load_model("m3vit-tiny", task)
    assert isinstance(model.network.layers[-1], Add)
    values = run_float(model.network, model.images(1, 0)[0])
    assert values[model.network.layers[-1].name].shape == (1, 129, 192)
    for layer in model.network.layers:
        value = values[layer.name]
        if isinstance(layer, Add):
            assert 0.5 < value.std() < 4
            assert np.abs(value).max() < 32
        elif isinstance(layer, Gelu):
            assert 3 < np.abs(values[layer.x]).max() < 8
        elif isinstance(layer, Experts):
            hidden = np.einsum("tc,ech->eth", values[layer.x][0], layer.hidden_weight)
            assert 3 < np.abs(hidden + layer.hidden_bias[:, None]).max() < 10
            assert 0.2 < value.std() < 0.8
        elif isinstance(layer, Attention):
            q, k = (values[name][0].reshape(129, 3, 64) for name in (layer.q, layer.k))
            scores = np.einsum("ihc,jhc->hij", q, k) * layer.scale
            assert 4 < np.abs(scores).max() < 30
        elif isinstance(layer, Gate):
            assert 0.35 < value.sum(axis=2).mean() < 0.75


def test_made_up_weights_depend_on_the_seed_only() -> None:
    first, again, other = (seeded_moe_weights(MOEVIT_MNIST, seed) for seed in (1, 1, 2))
    for name, shape in MOEVIT_MNIST.parameter_shapes.items():
        assert first[name].shape == shape
        assert first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])


def test_wrong_weights_are_refused() -> None:
    weights = seeded_moe_weights(MOEVIT_MNIST, 1)
    with pytest.raises(InputError, match=r"weight blocks\.1\.moe\.fc1\.bias is missing"):
        moe_network("x", {k: v for k, v in weights.items() if "1.moe.fc1.b" not in k}, MOEVIT_MNIST)
    with pytest.raises(InputError, match="weight 'extra' is not a parameter"):
        moe_network("x", weights | {"extra": weights["norm.bias"]}, MOEVIT_MNIST)
    with pytest.raises(InputError, match=r"must be float of shape \(8, 64\)"):
        moe_network("x", weights | {"blocks.1.moe.gates.0.weight": np.ones((8, 63))}, MOEVIT_MNIST)


def test_metrics_look_at_patches_only() -> None:
    labels = np.array([[0, 1], [2, 0]])
    results = np.zeros((2, 3, 3))
    results[0, 0, 0] = results[0, 1, 1] = results[1, 0, 1] = results[1, 1, 0] = 1
    results[:, 2] = 9  # the class token
    assert patch_accuracy(results, labels) == 0.75
    assert rmse(results[..., :1], np.array([[1.0, 0.0], [0.0, 3.0]])) == 1.0
    assert metric_name("accuracy") == "patch accuracy"
    assert (metric_text("accuracy", 0.5), metric_text("rmse", 0.5)) == ("50.0 %", "0.5000")


def test_train_makes_a_model_of_two_tasks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("moesaic.models.torch_zoo.make.TEST_CANVASES", 20)
    source = Path(__file__).parents[1] / "models" / "recipes" / "moevit-mnist.yaml"
    recipe = yaml.safe_load(source.read_text()) | {"epochs": 1, "canvases": 8, "batch": 4}
    recipe["model"] |= {"dim": 8, "heads": 2, "mlp": 8, "depth": 2, "expert_hidden": 4}
    Path("quick.yaml").write_text(yaml.safe_dump(recipe))
    assert moesaic(["train", "quick.yaml", "--out", "made"]) == 0
    assert re.search(r"moevit-mnist: patch accuracy .* of 20 canvases", capsys.readouterr().out)
    training = json.loads(Path("made/training.json").read_text())
    assert [task["metric"] for task in training["tasks"]] == ["accuracy", "rmse"]
    outputs = []
    for task in (0, 1):
        model = load_model("made", task)
        assert (model.task, model.tasks) == (task, 2)
        head = model.network.layers[-1]
        assert isinstance(head, Linear)
        outputs.append(head.weight.shape[1])
    assert outputs == [11, 1]
    with pytest.raises(InputError, match=r"task must be in 0\.\.1, not 2"):
        load_model("made", 2)
    save_weights(Path("made", TASKS_FILE), seeded_moe_weights(MOEVIT_MNIST, 0), MOEVIT_MNIST)
    assert load_model("made", 1).network["head"].weight.shape == (64, 1)  # type: ignore[attr-defined]
    Path("made", TASKS_FILE).write_bytes(b"nothing")
    with pytest.raises(InputError, match=TASKS_FILE):
        load_model("made", 0)


def test_gates_send_every_token_to_its_experts() -> None:
    model = load_model("moevit-mnist", 0)
    for values in gate_values(model.network, model.images(2, 0)[0]).values():
        assert values.shape == (2, 64, 8)
        assert ((values > 0).sum(axis=2) == 2).all()


def test_tables_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("moesaic.models.expert_tables.TEST_CANVASES", 10)
    columns = {"metrics": (3, 7), "information": (4, 6), "specialisation": (2 * 2 * 8, 5 + 10)}
    for table, (rows, cells) in columns.items():
        monkeypatch.setattr("sys.argv", ["expert_tables", table])
        assert main() == 0
        lines = capsys.readouterr().out.strip().splitlines()
        assert len(lines) == 2 + rows
        assert {len(line.strip("|").split("|")) for line in lines} == {cells}
    monkeypatch.setattr("sys.argv", ["expert_tables", "nosuch"])
    assert main() == 2
    assert capsys.readouterr().err == f"TABLE must be one of {', '.join(TABLES)}, not 'nosuch'\n"


def test_the_recipe_of_m3vit_is_its_published_size() -> None:
    recipe = load_recipe("m3vit-tiny")
    assert isinstance(recipe, CanvasRecipe)
    assert (recipe.model.tokens, recipe.model.dim) == (M3VIT_TINY.tokens, M3VIT_TINY.dim)
