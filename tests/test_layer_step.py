"""A layer alone: its step against numpy's own products, and on RTL."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from moesaic.dataflow.training.cycles import predict_step
from moesaic.dataflow.training.layer_search import best_mapping, tilings
from moesaic.dataflow.training.mapper import map_step
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.accel_io import load_accel
from moesaic.models.commands import Unit
from moesaic.models.errors import InputError
from moesaic.models.float_arithmetic import decode
from moesaic.models.float_format import FP16
from moesaic.models.training.execute import Machine, Value
from moesaic.models.training.layer_data import attention_data, layer_data
from moesaic.models.training.layer_shapes import (
    NETWORKS,
    LayerShape,
    macs_of_step,
    network_layers,
)
from moesaic.models.training.layer_step import LayerStep, Tiling, attention_step
from moesaic.models.training.method import Method
from moesaic.models.training.optimiser import Optimiser
from moesaic.models.training.step import Kind, Role, Step
from moesaic.sim.training.check import check_on_rtl

TINY = load_accel("tiny-train")
WIDE = replace(TINY, name="wide", columns=16, lanes=16)  # words of weights hold two lines
BDWP = Method(name="bdwp", nm=NM.parse("2:8"))
CONV = LayerShape(name="conv", inputs=16, outputs=32, kernel=3, stride=1, size=6)
DOWN = replace(CONV, name="down", stride=2)
NARROW = replace(CONV, name="narrow", padded=False)
LINEAR = LayerShape(name="linear", inputs=24, outputs=32, tokens=13)
STEM = LayerShape(name="stem", inputs=3, outputs=16, kernel=3, size=6, first=True, sparse=False)
ATTENTION = LayerShape(name="attention", inputs=32, outputs=32, tokens=9, heads=2)
SMALL = Tiling(rows=18, outputs=16, inputs=16, forward=1, backward=1, update=3, keep=False)
WHOLE = Tiling(rows=4096, outputs=32, inputs=32, forward=9, backward=9, update=99, keep=True)


def planned(layer: LayerShape, tiling: Tiling, method: Method = BDWP, batch: int = 2) -> LayerStep:
    """Return a layer's step with its plan."""
    plan = LayerStep(layer, method=method, optimiser=Optimiser(), batch=batch, tiling=tiling)
    plan.build()
    return plan


def layer_step(layer: LayerShape, tiling: Tiling, method: Method = BDWP) -> Step:
    """Return a layer's step."""
    return planned(layer, tiling, method).b.step


def run_on_rtl(step: Step, given: dict[str, Value], spec: AccelSpec, folder: Path) -> None:
    """Every write, what is left in memory and every cycle must be as predicted."""
    program = map_step(step, spec)
    _, checked = check_on_rtl(program, predict_step(program), given, folder)
    assert checked.failures == []
    assert checked.compared > 1000


def joined(found: dict[str, Value], prefix: str) -> np.ndarray:
    """Return all pieces (down) and blocks (across) of a result as floats."""
    parts: dict[int, list[np.ndarray]] = {}
    for name, value in found.items():
        key = name.split(".")
        if key[0] == prefix and len(key) == 3 and key[2].isdecimal():
            parts.setdefault(int(key[1]), []).append(decode(np.asarray(value), FP16))
    return np.concatenate([np.concatenate(row, axis=1) for _, row in sorted(parts.items())])


@pytest.mark.parametrize("layer", [CONV, DOWN, NARROW, LINEAR, STEM], ids=lambda x: x.name)
def test_pieces_and_blocks_change_sums_alone(layer: LayerShape) -> None:
    """However a layer is cut, its results are those of the whole, up to the order of additions."""
    results = []
    for tiling in (SMALL, WHOLE):
        plan = planned(layer, tiling, Method())
        given = layer_data(plan, FP16, seed=1)
        results.append(Machine(fmt=FP16, rows=8, lanes=8).run(plan.b.step, given))
    cut, whole = results
    check_momentum(cut, whole)
    for name in ["y"] if layer.first else ["y", "dx"]:
        a, b = joined(cut, name), joined(whole, name)
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=4e-3, atol=4e-3)
        assert np.abs(b).max() > 0.1


def check_momentum(cut: dict[str, Value], whole: dict[str, Value]) -> None:
    """New momentum, which has the weights' gradient in it, up to rounding."""

    def blocks(found: dict[str, Value]) -> np.ndarray:
        names = sorted(name for name in found if name.endswith(".momentum.next"))
        taps = sorted({int(name.split(".")[1]) for name in names})
        return np.concatenate(
            [np.asarray(found[n]) for tap in taps for n in names if int(n.split(".")[1]) == tap]
        )

    a, b = blocks(cut), blocks(whole)
    assert a.shape == b.shape
    np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    assert np.abs(b).max() > 0.01


@pytest.mark.parametrize("name", NETWORKS)
def test_bounds_are_those_of_the_shapes(name: str) -> None:
    """Multiply-accumulates and bounds as counted by hand for the published shapes."""
    layers = network_layers(name)
    forward = sum(layer.macs * layer.count for layer in layers)
    bound = macs_of_step(layers) / macs_of_step(layers, 0.25)
    wanted = {
        "resnet9": (1.162e9, 1.996),
        "vit": (0.641e9, 1.919),
        "vgg19": (0.398e9, 1.994),
        "resnet18": (2.222e9, 1.996),
        "resnet50": (4.089e9, 1.962),
    }[name]
    assert forward == pytest.approx(wanted[0], rel=1e-3)
    assert bound == pytest.approx(wanted[1], abs=2e-3)


def test_executed_macs_are_those_of_the_layer() -> None:
    for method, share in ((Method(), 3.0), (BDWP, 1.5)):
        program = map_step(layer_step(CONV, WHOLE, method), TINY)
        macs = sum(note.macs for note in program.notes)
        # taps beyond the image are multiplied as zeros, so nothing is left out
        assert macs == share * 2 * CONV.macs


@pytest.mark.parametrize("spec", [TINY, WIDE], ids=lambda s: s.name)
@pytest.mark.parametrize("layer", [CONV, DOWN, NARROW, LINEAR, STEM], ids=lambda x: x.name)
def test_layer_on_rtl(layer: LayerShape, spec: AccelSpec, tmp_path: Path) -> None:
    plan = planned(layer, SMALL)
    run_on_rtl(plan.b.step, layer_data(plan, FP16, seed=2), spec, tmp_path)


def test_tiles_that_share_a_word(tmp_path: Path) -> None:
    """Dense weights of 16 channels are two tiles along the contraction, in one word of W."""
    plan = planned(CONV, SMALL, Method())
    program = map_step(plan.b.step, WIDE)
    held = [c for c in program.commands if c["unit"] == Unit.STATIONARY and not c.get("source_x")]
    assert {command["k_tiles"] for command in held} == {2}
    run_on_rtl(plan.b.step, layer_data(plan, FP16, seed=2), WIDE, tmp_path)


def test_attention_on_rtl(tmp_path: Path) -> None:
    step = attention_step(ATTENTION, optimiser=Optimiser(), batch=2)
    run_on_rtl(step, attention_data(step, FP16, seed=2), WIDE, tmp_path)


def test_images_of_an_attention_take_turns() -> None:
    """Products of one image beside passes of others: four images take less than three times one."""
    one, four = (
        predict_step(
            map_step(attention_step(ATTENTION, optimiser=Optimiser(), batch=n), TINY)
        ).cycles
        for n in (1, 4)
    )
    assert four < 3.0 * one


def test_search_takes_the_fastest() -> None:
    best = best_mapping(TINY, CONV, BDWP, 2)
    cycles = []
    for tiling in tilings(TINY, CONV, BDWP, 2):
        try:
            step = layer_step(CONV, tiling)
            cycles.append(predict_step(map_step(step, TINY)).cycles)
        except InputError:
            continue
    assert len(set(cycles)) > 1
    assert best.timing.cycles == min(cycles)


def test_tensors_come_from_memory_and_go_back() -> None:
    step = layer_step(LINEAR, SMALL)
    roles: dict[Role, set[str]] = {role: set() for role in Role}
    for tensor in step.tensors.values():
        roles[tensor.role].add(tensor.name.split(".")[0])
    assert roles[Role.INPUT] == {"x", "g"}
    assert roles[Role.STATE] == {"forward", "backward", "weights"}
    assert roles[Role.NEXT] == {"y", "dx", "forward", "backward", "weights"}
    assert all(t.nm is not None for t in step.tensors.values() if t.kind == Kind.WEIGHTS)


def test_other_methods_are_refused() -> None:
    with pytest.raises(InputError, match="method of a layer alone must be dense, bdwp or sdwp"):
        layer_step(CONV, SMALL, Method(name="sdgp", nm=NM.parse("2:8")))
    with pytest.raises(InputError, match="network must be one of resnet9, vit"):
        network_layers("lenet")
