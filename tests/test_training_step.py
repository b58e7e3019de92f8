"""Training steps of a small ViT: gradients against torch, and RTL against the model."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.nn import functional

from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.mapper import map_step
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.errors import InputError
from moesaic.models.float_format import BF16, FP16
from moesaic.models.network import Network
from moesaic.models.training.execute import Machine, Value, Weights
from moesaic.models.training.method import METHODS, Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.state import first_state, inputs, next_state
from moesaic.models.training.step import Role, Step
from moesaic.models.training.vit_step import VitStep, state_of
from moesaic.models.zoo_vit import vit_network
from moesaic.sim.training.compare import StepCompare
from moesaic.sim.training.system import run_step

SPEC = load_accel("tiny-train")
IMAGE, PATCH, DIM, HEADS, MLP, CLASSES, BATCH = 12, 4, 16, 2, 24, 5, 3
TOKENS = (IMAGE // PATCH) ** 2 + 1
Floats = NDArray[np.float32]


def small_network(seed: int = 0, depth: int = 2) -> Network:
    """Return a ViT of 10 tokens with random weights."""
    rng = np.random.default_rng(seed)

    def normal(*shape: int) -> Floats:
        return rng.normal(0, shape[-1] ** -0.5, shape).astype(np.float32)

    weights = {
        "patch_embed.proj.weight": normal(DIM, 1, PATCH, PATCH),
        "patch_embed.proj.bias": 0.1 * normal(DIM),
        "pos_embed": normal(1, TOKENS, DIM),
        "cls_token": normal(1, 1, DIM),
        "norm.weight": 1 + 0.1 * normal(DIM),
        "norm.bias": 0.1 * normal(DIM),
        "head.weight": normal(CLASSES, DIM),
        "head.bias": 0.1 * normal(CLASSES),
    }
    for block in range(depth):
        name = f"blocks.{block}"
        for norm in ("norm1", "norm2"):
            weights[f"{name}.{norm}.weight"] = 1 + 0.1 * normal(DIM)
            weights[f"{name}.{norm}.bias"] = 0.1 * normal(DIM)
        for layer, outputs, ins in (
            ("attn.qkv", 3 * DIM, DIM),
            ("attn.proj", DIM, DIM),
            ("mlp.fc1", MLP, DIM),
            ("mlp.fc2", DIM, MLP),
        ):
            weights[f"{name}.{layer}.weight"] = normal(outputs, ins)
            weights[f"{name}.{layer}.bias"] = 0.1 * normal(outputs)
    return vit_network("small", weights, heads=HEADS, image=IMAGE)


def small_step(method: Method, batch: int = BATCH, **changes: Any) -> tuple[Network, Step]:
    """Return a small network and its step."""
    network = small_network()
    optimiser = replace(Optimiser(decay=0.0, loss_scale=64.0), **changes)
    return network, VitStep(network, method=method, optimiser=optimiser, batch=batch).build()


def given_for(
    network: Network, step: Step, spec: AccelSpec = SPEC, seed: int = 1
) -> dict[str, Value]:
    """Return state and inputs of a first step."""
    fmt = FP16 if spec.numbers == "fp16" else BF16
    rng = np.random.default_rng(seed)
    batch = step.tensors["labels"].rows
    images = rng.normal(0, 1, (batch, 1, IMAGE, IMAGE)).astype(np.float32)
    labels = rng.integers(0, CLASSES, batch)
    state = first_state(step, state_of(network), fmt)
    return state | inputs(step, network, images, labels, fmt)


def assert_close(got: Value, wanted: NDArray[np.float64], *, rtol: float, atol: float) -> None:
    """Compare a tensor of floats with what float64 says."""
    assert isinstance(got, np.ndarray)
    np.testing.assert_allclose(got.astype(np.float64), wanted, rtol=rtol, atol=atol)


def of_method(name: str) -> Method:
    """Return a method at 2:8 (dense apart)."""
    nm = None if name == "dense" else NM(n=2, m=8)
    return Method(name=name, nm=nm, decay=2e-3 if name == "srste" else 0.0)


# ---- the model against torch --------------------------------------------------------------------
def torch_gradients(
    given: Mapping[str, Value], network: Network
) -> tuple[float, dict[str, torch.Tensor]]:
    """Return loss and gradients of the same network in float32, by autograd."""
    state = state_of(network)
    parameters = {k: torch.tensor(v.copy(), requires_grad=True) for k, v in state.items()}
    image = torch.tensor(np.asarray(given["image"]).view(np.float16).astype(np.float32))

    def linear(x: torch.Tensor, name: str) -> torch.Tensor:
        return x @ parameters[f"{name}.weight"].T + parameters[f"{name}.bias"][0]

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        gain, offset = parameters[f"{name}.gain"][0], parameters[f"{name}.offset"][0]
        return functional.layer_norm(x, (DIM,), gain, offset, 1e-6)

    table = parameters["embed.table"]
    patches = linear(image, "patch_embed.proj").reshape(BATCH, TOKENS - 1, DIM)
    stream = torch.cat([patches, torch.zeros(BATCH, 1, DIM)], 1) + table
    for block in range(2):
        name = f"blocks.{block}"
        y = norm(stream, f"{name}.norm1")
        q, k, v = (
            linear(y, f"{name}.attn.{letter}").reshape(BATCH, TOKENS, HEADS, -1).transpose(1, 2)
            for letter in "qkv"
        )
        mixed = torch.softmax(q @ k.transpose(-1, -2) * (DIM // HEADS) ** -0.5, -1) @ v
        stream = stream + linear(
            mixed.transpose(1, 2).reshape(BATCH, TOKENS, DIM), f"{name}.attn.proj"
        )
        hidden = linear(norm(stream, f"{name}.norm2"), f"{name}.mlp.fc1")
        hidden = functional.gelu(hidden, approximate="tanh")
        stream = stream + linear(hidden, f"{name}.mlp.fc2")
    logits = linear(norm(stream[:, -1], "norm"), "head")
    labels = torch.tensor(-np.asarray(given["labels"])).argmax(1)
    loss = functional.cross_entropy(logits, labels)
    loss.backward()
    return loss.item(), {k: p.grad for k, p in parameters.items() if p.grad is not None}


def test_dense_gradients_are_those_of_autograd() -> None:
    network, step = small_step(Method())
    given = given_for(network, step)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    loss, gradients = torch_gradients(given, network)
    assert abs(float(np.asarray(found["loss"])[0, 0]) - loss) < 2e-3 * loss
    largest = max(float(g.abs().max()) for g in gradients.values())
    for name, gradient in gradients.items():
        # the first momentum is the gradient
        error = np.abs(np.asarray(found[f"{name}.momentum.next"]) - gradient.numpy()).max()
        scale = max(float(gradient.abs().max()), 0.01 * largest)
        assert error < 0.02 * scale, name


def test_update_follows_momentum_and_rate() -> None:
    network, step = small_step(Method(), decay=0.01)
    given = given_for(network, step)
    rng = np.random.default_rng(2)
    name = "blocks.0.mlp.fc1.weight"
    given[f"{name}.momentum"] = rng.normal(0, 1, (MLP, DIM)).astype(np.float32)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    weight, momentum, gradient = (
        np.asarray(values[key], dtype=np.float64)
        for values, key in (
            (given, name),
            (given, f"{name}.momentum"),
            (found, "blocks.0.mlp.fc1.weight.gradient"),
        )
    )
    speed = 0.9 * momentum + gradient / 64 + 0.01 * weight
    assert_close(found[f"{name}.momentum.next"], speed, rtol=1e-5, atol=1e-6)
    assert_close(found[f"{name}.next"], weight - 0.05 * speed, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [m for m in METHODS if m != "dense"])
def test_methods_prune_what_they_say(name: str) -> None:
    """Each product of a layer, from its operands in float64: masks by magnitude, each its own."""
    network, step = small_step(of_method(name))
    given = given_for(network, step)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    layer = "blocks.1.mlp.fc1"
    weight = np.asarray(given[f"{layer}.weight"])

    def half(x: Floats) -> NDArray[np.float64]:
        return x.astype(np.float16).astype(np.float64)

    def operand(key: str) -> NDArray[np.float64]:
        return np.asarray(found[key]).view(np.float16).astype(np.float64)

    def pruned(x: NDArray[np.float64]) -> NDArray[np.float64]:
        groups = x.reshape(len(x), -1, 8)
        order = np.argsort(-np.abs(groups), axis=-1, kind="stable")
        out = np.zeros_like(groups)
        np.put_along_axis(out, order[..., :2], np.take_along_axis(groups, order[..., :2], -1), -1)
        return out.reshape(x.shape)

    forward = pruned(half(weight)) if name in ("bdwp", "srste") else half(weight)
    y = operand("blocks.1.norm2") @ forward.T
    assert_close(found[f"{layer}.product"], y, rtol=2e-3, atol=2e-4)
    g, backward = operand(f"{layer}.g"), half(weight)
    if name in ("bdwp", "sdwp"):
        backward = pruned(np.ascontiguousarray(half(weight).T)).T
    if name == "srste":
        backward = forward
    if name == "sdgp":
        g = pruned(g)
    key = f"{layer}.input" if name == "sdgp" else "blocks.1.norm2.gradient"
    assert_close(found[key], g @ backward, rtol=5e-3, atol=1e-3)
    dw = operand(f"{layer}.g").T @ operand("blocks.1.norm2")
    assert_close(found[f"{layer}.weight.gradient"], dw, rtol=5e-3, atol=1e-3)


@pytest.mark.parametrize("name", METHODS)
def test_new_weights_are_packed_as_at_the_start(name: str) -> None:
    """What a step leaves is what a start from its new weights would make."""
    network, step = small_step(of_method(name))
    given = given_for(network, step)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    left = next_state(step, given, found)
    parameters = {key: np.asarray(left[key]) for key in state_of(network)}
    for key, wanted in first_state(step, parameters, FP16).items():
        got = left[key]
        if key.endswith(".momentum"):
            continue
        if isinstance(wanted, Weights):
            assert isinstance(got, Weights)
            assert (got.values == wanted.values).all(), key
            assert (got.places is None) == (wanted.places is None)
            assert got.places is None or (got.places == wanted.places).all(), key
        else:
            assert isinstance(got, np.ndarray)
            assert got.tobytes() == wanted.tobytes(), key


def test_overflow_keeps_the_old_state() -> None:
    network, step = small_step(Method(), loss_scale=2.0**40)
    given = given_for(network, step)
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    assert np.asarray(found["overflow"])[0, 0] == 1
    kept = next_state(step, given, found)
    assert all(kept[name] is given[name] for name in kept)
    network, step = small_step(Method())
    found = Machine(fmt=FP16, rows=8, lanes=8).run(step, given)
    assert np.asarray(found["overflow"])[0, 0] == 0
    new = next_state(step, given, found)
    assert (np.asarray(new["head.weight"]) != np.asarray(given["head.weight"])).any()


# ---- RTL against the model ----------------------------------------------------------------------
def check_on_rtl(
    step: Step, given: Mapping[str, Value], spec: AccelSpec, folder: Path, *, stall: float = 0.0
) -> dict[str, Value]:
    """Run a step on RTL; every write and, without stalls, every cycle must be as predicted."""
    program = map_step(step, spec)
    log = run_step(program, given, folder, stall=stall, seed=3)
    fmt = FP16 if spec.numbers == "fp16" else BF16
    compare = StepCompare(
        program=program, log=log, machine=Machine(fmt=fmt, rows=spec.rows, lanes=spec.lanes)
    )
    found = compare.run(given)
    assert compare.out.first == ""
    assert all(check.compared for check in compare.out.layers.values())
    if not stall:
        timing = predict_step(program)
        assert log.cycles == timing.cycles
        assert (log.read_bytes, log.write_bytes) == (timing.bytes_read, timing.bytes_written)
    return found


@pytest.mark.parametrize("name", METHODS)
def test_step_on_rtl(name: str, tmp_path: Path) -> None:
    network, step = small_step(of_method(name))
    check_on_rtl(step, given_for(network, step), SPEC, tmp_path)


@pytest.mark.parametrize("stall", [0.5, 0.9])
def test_stalls_change_no_bit(stall: float, tmp_path: Path) -> None:
    network, step = small_step(of_method("bdwp"))
    check_on_rtl(step, given_for(network, step), SPEC, tmp_path, stall=stall)


def test_overflow_on_rtl(tmp_path: Path) -> None:
    network, step = small_step(of_method("bdwp"), loss_scale=2.0**40)
    found = check_on_rtl(step, given_for(network, step), SPEC, tmp_path)
    assert np.asarray(found["overflow"])[0, 0] == 1


def test_nan_in_an_image_on_rtl(tmp_path: Path) -> None:
    network, step = small_step(of_method("dense"))
    given = given_for(network, step)
    image = np.asarray(given["image"]).copy()
    image[4, 2] = 0x7E00
    found = check_on_rtl(step, given | {"image": image}, SPEC, tmp_path)
    assert np.isnan(np.asarray(found["loss"])[0, 0])
    assert np.asarray(found["overflow"])[0, 0] == 1


def test_bf16_and_a_narrow_bus(tmp_path: Path) -> None:
    spec = replace(SPEC, name="bf", numbers="bf16", bus_bytes=4, psum_depth=16)
    network, step = small_step(of_method("bdwp"))
    check_on_rtl(step, given_for(network, step, spec), spec, tmp_path)


def test_what_has_no_room_waits_in_memory(tmp_path: Path) -> None:
    """Operands that fit are kept for the weights' gradient; else they are stored and come back."""
    network, step = small_step(of_method("bdwp"))
    whole = map_step(step, SPEC)
    names = {tensor.name for tensor in step.tensors.values() if tensor.role == Role.INNER}
    assert not names & set(whole.addresses)
    small = replace(SPEC, name="small", act_words=1 << whole.peak_words["X"].bit_length() - 1)
    with pytest.raises(InputError, match="act_words must be"):
        map_step(step, small, spill=False)
    program = map_step(step, small)
    assert len(names & set(program.addresses)) > 1
    timing = predict_step(program)
    assert timing.bytes_written > predict_step(whole).bytes_written
    check_on_rtl(step, given_for(network, step), small, tmp_path)


def test_steps_in_a_row_have_one_loss_curve(tmp_path: Path) -> None:
    """What RTL leaves in memory is what the next step begins with."""
    from moesaic.dataflow.training.image import read_tensor

    network, step = small_step(of_method("bdwp"))
    program = map_step(step, SPEC)
    given = given_for(network, step)
    machine = Machine(fmt=FP16, rows=8, lanes=8)
    rtl, model, losses = dict(given), dict(given), []
    for number in range(3):
        log = run_step(program, rtl, tmp_path / str(number))
        found = machine.run(step, model)
        left: dict[str, Value] = {}
        for tensor in step.tensors.values():
            if tensor.name in program.addresses:
                (a, b), (x, y) = program.addresses[tensor.name], program.sizes[tensor.name]
                memory = log.memory
                left[tensor.name] = read_tensor(tensor, memory[a : a + x], memory[b : b + y], SPEC)
        assert np.asarray(left["loss"]).tobytes() == np.asarray(found["loss"]).tobytes()
        losses.append(float(np.asarray(found["loss"])[0, 0]))
        rtl = given | next_state(step, rtl, left)
        model = given | next_state(step, model, found)
    assert losses[-1] < losses[0]
