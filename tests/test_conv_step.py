"""Training steps of small convolutional networks: gradients against torch, and methods."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from moesaic.models.accel import NM
from moesaic.models.conv_config import ConvConfig
from moesaic.models.float_arithmetic import encode
from moesaic.models.float_format import FP16
from moesaic.models.torch_zoo.convnet import ConvNet
from moesaic.models.training.builder import Builder
from moesaic.models.training.conv_step import conv_state
from moesaic.models.training.execute import Machine, Value
from moesaic.models.training.method import METHODS, Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.pixels import Geometry
from moesaic.models.training.pool import max_backward, max_forward
from moesaic.models.training.state import next_state
from moesaic.models.training.step import Kind, Role, Step
from tests.conv_cases import BATCH, CONFIGS, RESNET, conv_given, conv_step, conv_weights

Floats = NDArray[np.float32]


def run(config: ConvConfig, method: Method) -> tuple[dict[str, Value], dict[str, Value]]:
    """Return what a step was given, and all that came out."""
    step = conv_step(config, method)
    given = conv_given(config, step)
    return given, Machine(fmt=FP16, rows=8, lanes=8).run(step, given)


def torch_gradients(
    config: ConvConfig, given: Mapping[str, Value]
) -> tuple[float, dict[str, Floats]]:
    """Return loss and gradients of the torch module in float32, by autograd."""
    model = ConvNet(config).train()
    model.load_state_dict(
        {name: torch.from_numpy(value) for name, value in conv_weights(config).items()},
        strict=False,
    )
    rows = np.asarray(given["image"]).view(np.float16).astype(np.float32)
    images = rows.reshape(BATCH, config.image, config.image, config.channels)
    labels = torch.tensor(-np.asarray(given["labels"])).argmax(1)
    logits = model(torch.from_numpy(images.transpose(0, 3, 1, 2).copy()))
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    found = {
        name: p.grad.contiguous().numpy()
        for name, p in model.named_parameters()
        if p.grad is not None
    }
    return loss.item(), conv_state(found)


@pytest.mark.parametrize("name", CONFIGS)
def test_dense_gradients_are_those_of_autograd(name: str) -> None:
    """By this seed no value changes its side of ReLU, or a window its largest, by rounding."""
    config = CONFIGS[name]
    given, found = run(config, Method())
    loss, gradients = torch_gradients(config, given)
    assert abs(float(np.asarray(found["loss"])[0, 0]) - loss) < 1e-3 * loss
    for parameter, gradient in gradients.items():
        # the first momentum is the gradient
        error = np.asarray(found[f"{parameter}.momentum.next"]) - gradient
        assert np.linalg.norm(error) < 5e-3 * np.linalg.norm(gradient), parameter


def test_the_first_of_equal_pixels_takes_the_gradient() -> None:
    step = Step(name="pool")
    b = Builder(step=step, method=Method(), optimiser=Optimiser(), batch=1)
    geometry = Geometry(images=2, height=4, width=6)
    rows, channels = geometry.rows, 8
    x = b.operands("x", rows, channels, Role.INPUT)
    gradient = b.floats("g", rows // 4, channels, Role.INPUT)
    pooled = max_forward(b, "pool", x, geometry)
    back = max_backward(b, "pool", gradient, x, geometry)
    rng = np.random.default_rng(0)
    values = rng.integers(-2, 2, (rows, channels)).astype(np.float32)  # many are equal
    g = rng.normal(0, 1, (rows // 4, channels)).astype(np.float32)
    machine = Machine(fmt=FP16, rows=8, lanes=8)
    found = machine.run(step, {"x": encode(values, FP16), "g": g})

    images = torch.from_numpy(values.reshape(2, 4, 6, channels).transpose(0, 3, 1, 2).copy())
    images.requires_grad_()
    wanted = functional.max_pool2d(images, 2)
    wanted.backward(torch.from_numpy(g.reshape(2, 2, 3, channels).transpose(0, 3, 1, 2).copy()))
    assert images.grad is not None
    for got, of in ((pooled, wanted.detach()), (back, images.grad)):
        rows_wanted = of.permute(0, 2, 3, 1).reshape(-1, channels).numpy()
        assert (np.asarray(found[got.name]) == rows_wanted).all()


@pytest.mark.parametrize("name", [method for method in METHODS if method != "dense"])
def test_methods_leave_first_layer_and_classifier_dense(name: str) -> None:
    nm = NM(n=2, m=8)
    step = conv_step(RESNET, Method(name=name, nm=nm))
    packed = {t.name: t.nm for t in step.tensors.values() if t.kind == Kind.WEIGHTS}
    assert packed["layers.0.conv.forward"] is None
    assert packed["head.forward"] is packed["head.backward"] is None
    assert "layers.0.conv.backward" not in packed
    sparse = {"forward": name in ("bdwp", "srste"), "backward": name in ("bdwp", "sdwp")}
    for part, pruned in sparse.items():
        assert packed[f"layers.2.first.conv.{part}"] == (nm if pruned else None)


def test_steps_in_a_row_lower_the_loss() -> None:
    step = conv_step(RESNET, Method(name="bdwp", nm=NM(n=2, m=8)), loss_scale=1024.0)
    given = conv_given(RESNET, step)
    machine, losses, state = Machine(fmt=FP16, rows=8, lanes=8), [], dict(given)
    for _ in range(6):
        found = machine.run(step, state)
        losses.append(float(np.asarray(found["loss"])[0, 0]))
        state = given | next_state(step, state, found)
    assert losses[-1] < 0.7 * losses[0]
