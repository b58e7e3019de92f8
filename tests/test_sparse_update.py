"""The sparse weight update: its choice against chance, its product in float64, steps on RTL."""

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.mapper import map_step
from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.float_arithmetic import decode, encode
from moesaic.models.float_format import FP16
from moesaic.models.seeded_weights import seeded_weights
from moesaic.models.training.builder import Builder, whole
from moesaic.models.training.execute import Machine, Value, Weights, kept
from moesaic.models.training.linear import late_update, linear_backward
from moesaic.models.training.matrix import Matrix
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.sparse_update import draws, one_of_each_pair
from moesaic.models.training.state import first_state
from moesaic.models.training.step import Kind, Role, Step
from moesaic.models.training.vit_step import VitStep
from moesaic.models.vit_config import VitConfig
from moesaic.models.zoo_vit import vit_network
from moesaic.reports.cli import main
from moesaic.sim.training import experiment
from tests.conv_cases import RESNET, conv_step
from tests.test_training_step import SPEC, check_on_rtl, given_for, small_step

UPDATE = NM(n=2, m=4)
METHOD = Method(name="bdwp", nm=NM(n=2, m=8), update=UPDATE)
Doubles = NDArray[np.float64]


def builder(method: Method = METHOD) -> Builder:
    """Return a step of which nothing is built."""
    optimiser = Optimiser(decay=0.0, loss_scale=1.0)
    return Builder(step=Step(name="lone"), method=method, optimiser=optimiser, batch=1)


def lone_layer(rows: int, inputs: int, outputs: int, method: Method = METHOD) -> Step:
    """Return the way back of one linear layer, whose gradient is given."""
    b = builder(method)
    sizes: dict[str, Any] = {"outputs": outputs, "inputs": inputs, "method": method}
    matrix = Matrix(b=b, name="layer", wants_input=False, **sizes)
    b.floats("layer.bias", 1, outputs, Role.STATE)
    x = whole(b.operands("x", rows, inputs, Role.INPUT))
    gradient = b.step.tensor("g", rows, outputs, Kind.FLOAT, Role.INPUT)
    linear_backward(b, matrix, x, gradient)
    late_update(b, matrix, x, gradient)
    return b.step


def layer_given(step: Step, rng: np.random.Generator) -> dict[str, Value]:
    """Return the state and the inputs of a layer, without random numbers."""
    g, x, weight = (step.tensors[name] for name in ("g", "x", "layer.weight"))
    parameters = {
        "layer.weight": rng.normal(size=(weight.rows, weight.channels)).astype(np.float32),
        "layer.bias": np.zeros((1, weight.rows), dtype=np.float32),
    }
    gradient = rng.normal(size=(g.rows, g.channels)) ** 3
    gradient[rng.random(gradient.shape) < 0.1] = 0
    inputs = rng.normal(size=(x.rows, x.channels)).astype(np.float32)
    state = first_state(step, parameters, FP16)
    return state | {"g": gradient.astype(np.float32), "x": encode(inputs, FP16)}


def run(step: Step, given: Mapping[str, Value]) -> dict[str, Value]:
    """Run a step in numpy."""
    return Machine(fmt=FP16, rows=8, lanes=8).run(step, given)


def choice(gradient: Doubles, random: Doubles) -> Doubles:
    """Return one of each pair of rows, as the definition has it."""
    out = np.zeros_like(gradient)
    for pair, number in enumerate(random):
        a, b = gradient[2 * pair], gradient[2 * pair + 1]
        total = np.abs(a) + np.abs(b)
        first = np.abs(a) > total * number
        out[2 * pair] = np.where(first, np.sign(a) * total, 0)
        out[2 * pair + 1] = np.where(first, 0, np.sign(b) * total)
    return out


# ---- the choice ---------------------------------------------------------------------------------
def test_choice_is_unbiased_and_varies_as_said() -> None:
    """The mean within 5 deviations of the gradient, the variance within 5 % of ``|a||b|``."""
    count, rng = 40_000, np.random.default_rng(1)
    pair = rng.uniform(0.1, 2, (2, 12)) * rng.choice([-1, 1], (2, 12))
    pair = pair.astype(np.float32)
    pair[0, :3], pair[1, 2:4] = 0, 0  # 0 and b, 0 and 0, a and 0
    b = builder()
    rows = b.step.tensor("g", 2 * count, 12, Kind.FLOAT, Role.INPUT)
    chosen = one_of_each_pair(b, "layer", whole(rows))
    given: dict[str, Value] = {"g": np.tile(pair, (count, 1))}
    found = run(b.step, given | draws(b.step, 5, 1))
    values = np.asarray(found[chosen.name], np.float64).T.reshape(count, 2, 12)
    variance = np.abs(pair[0] * pair[1]).astype(np.float64)
    error = values.mean(0) - pair
    assert (np.abs(error) <= 5 * np.sqrt(variance / count) + 1e-6 * np.abs(pair)).all()
    spread = values.var(0) / np.where(variance, variance, 1)
    np.testing.assert_allclose(spread[:, variance > 0], 1, rtol=0.05)
    assert not spread[:, variance == 0].any()
    assert ((values != 0).sum(1) == (pair != 0).any(0)).all()  # always one, if there is one
    used = np.abs(error[:, variance > 0]) / np.sqrt(variance[variance > 0] / count)
    assert used.max() > 0.1  # so the bound is that of these draws, not of equal ones


def test_weight_gradient_is_unbiased() -> None:
    """Over 600 draws, each within 5 deviations of the mean."""
    step, count = lone_layer(12, 8, 16), 600
    given = layer_given(step, np.random.default_rng(2))
    found = [
        np.asarray(run(step, given | draws(step, 3, n))["layer.weight.gradient"], np.float64)
        for n in range(count)
    ]
    x = decode(np.asarray(given["x"]), FP16).astype(np.float64)
    wanted = np.asarray(given["g"], np.float64).T @ x
    deviation = np.std(found, axis=0) / np.sqrt(count)
    assert (deviation > 0).all()
    assert (np.abs(np.mean(found, axis=0) - wanted) <= 5 * deviation + 1e-3).all()


@pytest.mark.parametrize("rows", [16, 18])
def test_weight_gradient_is_that_of_the_choice(rows: int) -> None:
    step = lone_layer(rows, 24, 16)
    given = layer_given(step, np.random.default_rng(rows)) | draws(step, 1, 1)
    found = run(step, given)
    halves = np.asarray(given["layer.random"], np.float64)[0]
    chosen = choice(np.asarray(given["g"], np.float64), 2 * halves)
    np.testing.assert_allclose(np.asarray(found["layer.g.chosen"]).T, chosen, rtol=1e-6)
    packed = found["layer.g.packed"]
    assert isinstance(packed, Weights)
    assert packed.nm == UPDATE
    inside = kept(np.zeros((16, rows), np.uint16), packed.values, packed.places, UPDATE)
    rounded = chosen.astype(np.float16).astype(np.float64)
    np.testing.assert_allclose(decode(inside, FP16).T, rounded, rtol=1e-3)
    x = decode(np.asarray(given["x"]), FP16).astype(np.float64)
    dw = np.asarray(found["layer.weight.gradient"])
    np.testing.assert_allclose(dw, rounded.T @ x, rtol=2e-3, atol=2e-3)
    bias = np.asarray(given["g"]).sum(axis=0, dtype=np.float64)
    np.testing.assert_allclose(np.asarray(found["layer.bias.gradient"])[0], bias, rtol=1e-5)


def test_draws_are_uniform_and_each_their_own() -> None:
    _, step = small_step(METHOD, batch=2)
    a, again = draws(step, 7, 1), draws(step, 7, 1)
    assert len(a) == 12
    assert all(np.asarray(a[name]).tobytes() == np.asarray(again[name]).tobytes() for name in a)
    others = [a, draws(step, 7, 2), draws(step, 8, 1)]
    rows = np.array([np.asarray(row)[0] for each in others for row in each.values()], np.float64)
    assert len(np.unique(rows)) > 0.99 * rows.size
    assert 0 < rows.min() < rows.max() < 0.5
    assert abs(rows.mean() - 0.25) < 5 * 0.5 / np.sqrt(12 * rows.size)


# ---- whole steps --------------------------------------------------------------------------------
@pytest.mark.parametrize("batch", [2, 3], ids=["whole-groups", "open-group"])
def test_step_on_rtl(batch: int, tmp_path: Path) -> None:
    network, step = small_step(METHOD, batch=batch, decay=1e-3)
    given = given_for(network, step) | draws(step, 1, 1)
    found = check_on_rtl(step, given, SPEC, tmp_path)
    assert np.asarray(found["overflow"])[0, 0] == 0


def test_overflow_is_seen() -> None:
    network, step = small_step(METHOD, batch=2, loss_scale=2.0**40)
    found = run(step, given_for(network, step) | draws(step, 1, 1))
    assert np.asarray(found["overflow"])[0, 0] == 1


def test_every_step_draws_anew(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And the command line tells what was asked for."""
    asked: list[tuple[int, int]] = []

    def noted(_step: Step, seed: int, number: int) -> dict[str, Value]:
        asked.append((seed, number))
        return {}

    monkeypatch.setattr(experiment, "draws", noted)
    options = experiment.StepOptions(
        model="resnet9-digits",
        accel="tiny-train",
        method=Method(),
        batch=2,
        backend="model",
        steps=2,
        seed=4,
    )
    experiment.run_steps(options)
    assert asked == [(4, 1), (4, 2)]
    monkeypatch.undo()
    file = tmp_path / "step.json"
    line = "step vit-mnist --accel tiny-train --method bdwp --nm 2:8 --batch 1 --backend model"
    assert main([*line.split(), "--update", "2:4", "--json", str(file)]) == 0
    assert json.loads(file.read_text())["update"] == "2:4"


@pytest.mark.parametrize(
    ("dim", "dense", "sparse"), [(64, 360_000, 381_000), (128, 1_150_000, 1_053_000)]
)
def test_more_inputs_save_more(dim: int, dense: int, sparse: int) -> None:
    """The figures of docs/training.md, to half a per cent: one block, 17 tokens, 8 images."""
    config = VitConfig(
        image=16, channels=1, patch=4, dim=dim, depth=1, heads=dim // 32, mlp=4 * dim, classes=5
    )
    network = vit_network("one-block", seeded_weights(config, 0), heads=config.heads, image=16)
    for method, cycles in ((replace(METHOD, update=None), dense), (METHOD, sparse)):
        step = VitStep(network, method=method, optimiser=Optimiser(), batch=8).build()
        assert abs(predict_step(map_step(step, SPEC)).cycles / cycles - 1) < 0.005


# ---- what is refused ----------------------------------------------------------------------------
@pytest.mark.parametrize("method", ["dense", "srste", "sdgp", "sdwp"])
def test_other_methods_have_none(method: str) -> None:
    nm = None if method == "dense" else NM(n=2, m=8)
    with pytest.raises(InputError, match="update must be left out unless method is bdwp, not 2:4"):
        Method(name=method, nm=nm, update=UPDATE)
    with pytest.raises(InputError, match="update must be 2:4, not 2:8"):
        replace(METHOD, update=NM(n=2, m=8))


def test_odd_rows_are_refused() -> None:
    with pytest.raises(InputError, match="must be even for an update of 2:4, not 15"):
        lone_layer(15, 8, 16)


def test_convolutions_are_refused() -> None:
    with pytest.raises(InputError, match="small: an update of 2:4 is for linear layers alone"):
        conv_step(RESNET, METHOD)
