"""Adam as passes: against torch in float64, and whole steps on RTL."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from moesaic.models.errors import InputError
from moesaic.models.float_format import FP16
from moesaic.models.training.adam import CORRECTION, corrections
from moesaic.models.training.builder import Builder
from moesaic.models.training.execute import Machine, Value
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.state import next_state
from moesaic.models.training.step import Kind, Role, Step
from moesaic.models.training.update import update
from moesaic.reports.cli import main
from moesaic.sim.training import experiment
from tests.test_training_step import SPEC, check_on_rtl, given_for, of_method, small_step

ROWS, CHANNELS, STEPS = 6, 40, 12
OPTIMISERS = {
    "plain": Optimiser(kind="adam", rate=1e-3, decay=0.0),
    "decay": Optimiser(kind="adam", rate=1e-3, decay=0.01),
    "quick": Optimiser(kind="adam", rate=0.02, decay=0.0, beta1=0.5, beta2=0.9),
    "large-epsilon": Optimiser(kind="adam", rate=1e-3, decay=0.0, epsilon=1e-2),
    "no-first-moment": Optimiser(kind="adam", rate=1e-3, decay=0.0, beta1=0.0),
}


def lone_update(optimiser: Optimiser) -> Step:
    """Return a step that updates one parameter by a given gradient."""
    step = Step(name="lone")
    b = Builder(step=step, method=Method(), optimiser=optimiser, batch=1)
    weight = b.floats("w", ROWS, CHANNELS, Role.STATE)
    gradient = step.tensor("g", ROWS, CHANNELS, Kind.FLOAT, Role.INPUT)
    update(b, "w", weight, gradient, decay=optimiser.decay)
    return step


def gradients(rng: np.random.Generator) -> NDArray[np.float64]:
    """Return gradients of all sizes by channel; some are often zero, those of channel 0 always."""
    found = rng.normal(0, 1, (ROWS, CHANNELS)) * 10.0 ** np.linspace(-13, 4, CHANNELS)
    found[:, 1::4] *= rng.random(found[:, 1::4].shape) < 0.5
    found[:, 0] = 0
    return found.astype(np.float32).astype(np.float64)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_steps_are_those_of_torch(name: str) -> None:
    """Weights within 5e-7 of the way that they went and an ulp a step; moments within 1e-6."""
    how, rng = OPTIMISERS[name], np.random.default_rng(3)
    step = lone_update(how)
    weight = rng.normal(0, 1, (ROWS, CHANNELS)).astype(np.float32)
    zeros = np.zeros_like(weight)
    state: dict[str, Value] = {"w": weight, "w.momentum": zeros, "w.second": zeros}
    wanted = torch.tensor(weight, dtype=torch.float64, requires_grad=True)
    oracle = torch.optim.Adam(
        [wanted],
        lr=how.rate,
        betas=(how.beta1, how.beta2),
        eps=how.epsilon,
        weight_decay=how.decay,
    )
    way, rounded = np.zeros_like(weight, dtype=np.float64), np.zeros_like(weight)
    for number in range(1, STEPS + 1):
        gradient = gradients(rng)
        given: dict[str, Value] = {"g": (gradient * how.loss_scale).astype(np.float32)}
        machine = Machine(fmt=FP16, rows=8, lanes=8)
        found = machine.run(step, state | given | corrections(step, how, number))
        state = {key: found[f"{key}.next"] for key in state}
        before = wanted.detach().numpy().copy()
        wanted.grad = torch.tensor(gradient)
        oracle.step()
        assert not machine.overflow
        got, now = np.asarray(state["w"], np.float64), wanted.detach().numpy()
        way += np.abs(now - before)
        rounded += np.spacing(np.abs(now).astype(np.float32))
        assert (np.abs(got - now) <= 5e-7 * way + rounded).all(), number
    slots = oracle.state[wanted]
    for key, beta, slot in (
        ("momentum", how.beta1, "exp_avg"),
        ("second", how.beta2, "exp_avg_sq"),
    ):
        moment = (1 - beta) * np.asarray(state[f"w.{key}"], np.float64)
        size = np.abs(slots[slot].numpy()).max(axis=0)
        assert (np.abs(moment - slots[slot].numpy()) <= 1e-6 * size).all(), key
    assert (np.asarray(state["w"]) != weight)[:, CHANNELS // 2 :].all()


def test_what_never_had_a_gradient_stays() -> None:
    how = OPTIMISERS["plain"]
    step = lone_update(how)
    weight = np.linspace(-2, 2, ROWS * CHANNELS, dtype=np.float32).reshape(ROWS, CHANNELS)
    zeros = np.zeros_like(weight)
    given: dict[str, Value] = {"w": weight, "w.momentum": zeros, "w.second": zeros, "g": zeros}
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given | corrections(step, how, 1))
    assert np.asarray(found["w.next"]).tobytes() == weight.tobytes()
    assert not np.asarray(found["w.second.next"]).any()


def test_a_square_beyond_fp32_is_an_overflow() -> None:
    how = OPTIMISERS["plain"]
    step = lone_update(how)
    zeros = np.zeros((ROWS, CHANNELS), dtype=np.float32)
    gradient = zeros.copy()
    gradient[2, 3] = 1e23  # finite, and over the loss scale too
    given: dict[str, Value] = {"w": zeros, "w.momentum": zeros, "w.second": zeros, "g": gradient}
    machine = Machine(fmt=FP16, rows=8, lanes=8)
    machine.run(step, given | corrections(step, how, 1))
    assert machine.overflow


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "lion"}, "optimiser must be one of sgd, adam, not 'lion'"),
        ({"beta2": 1.0}, "beta2 must be in 0..0.99"),
        ({"epsilon": 0.0}, "epsilon must be in 1e-15..1, not 0.0"),
    ],
)
def test_bad_optimisers_are_refused(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(InputError, match=text):
        Optimiser(**changes)


def test_sgd_needs_no_correction() -> None:
    _, step = small_step(of_method("dense"))
    assert corrections(step, Optimiser(), 1) == {}


def test_overflow_keeps_moments_and_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    network, step = small_step(of_method("dense"), kind="adam", loss_scale=2.0**40)
    given = given_for(network, step) | corrections(step, Optimiser(kind="adam"), 1)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    assert np.asarray(found["overflow"])[0, 0] == 1
    kept = next_state(step, given, found)
    assert all(kept[name] is given[name] for name in kept)
    assert not np.asarray(kept["head.weight.second"]).any()

    asked: list[int] = []

    def noted(step: Step, optimiser: Optimiser, number: int) -> dict[str, Value]:
        asked.append(number)
        return corrections(step, optimiser, number)

    monkeypatch.setattr(experiment, "corrections", noted)
    for scale in (1024.0, 2.0**60):
        options = experiment.StepOptions(
            model="resnet9-digits",
            accel="tiny-train",
            method=Method(),
            batch=2,
            backend="model",
            steps=3,
            optimiser=Optimiser(kind="adam", loss_scale=scale),
        )
        experiment.run_steps(options)
    assert asked == [1, 2, 3, 1, 1, 1]


def test_step_on_rtl(tmp_path: Path) -> None:
    """The second step of a small ViT, which begins with moments."""
    how = Optimiser(kind="adam", rate=0.01, decay=1e-3, loss_scale=64.0)
    network, step = small_step(of_method("bdwp"), kind="adam", rate=0.01, decay=1e-3)
    given = given_for(network, step)
    first = given | corrections(step, how, 1)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, first)
    second = given | next_state(step, first, found) | corrections(step, how, 2)
    assert np.asarray(second["head.weight.second"]).any()
    assert np.asarray(second[CORRECTION]).shape == (2, 24)
    found = check_on_rtl(step, second, SPEC, tmp_path)
    assert np.asarray(found["overflow"])[0, 0] == 0


def test_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "step.json"
    line = "step resnet9-digits --accel tiny-train --batch 2 --steps 3 --backend model --seed 1"
    losses = []
    for more in ("", "--optimiser adam", "--optimiser adam --rate 0.01 --weight-decay 0"):
        assert main([*line.split(), *more.split(), "--json", str(file)]) == 0
        content = json.loads(file.read_text())
        losses.append(content["loss"])
        assert content["optimiser"] == ("adam" if more else "sgd")
        assert content["rate"] == (0.01 if "rate" in more else 0.001 if more else 0.05)
        assert f"dense, {content['optimiser']}" in capsys.readouterr().out
    assert losses[0][0] == losses[1][0] == losses[2][0]
    assert len({tuple(each) for each in losses}) == 3
