"""Convolutions and small networks on RTL against the model: every write, and all cycles."""

from dataclasses import replace
from pathlib import Path

import pytest

from moesaic.models.accel import AccelSpec
from moesaic.models.training.method import METHODS
from tests.conv_cases import CONFIGS, GEOMETRIES, RESNET, conv_given, conv_step, lone_conv
from tests.test_training_step import SPEC, check_on_rtl, of_method

NARROW = replace(SPEC, name="bf", numbers="bf16", bus_bytes=4, psum_depth=16)


@pytest.mark.parametrize("shape", GEOMETRIES)
@pytest.mark.parametrize("spec", [SPEC, NARROW], ids=["fp16", "bf16-few-sums"])
def test_convolution_on_rtl(shape: str, spec: AccelSpec, tmp_path: Path) -> None:
    """Few sums: images are cut into lines, and long lines into columns."""
    step, given = lone_conv(GEOMETRIES[shape], of_method("bdwp"), spec.numbers)
    check_on_rtl(step, given, spec, tmp_path)


@pytest.mark.parametrize("name", [method for method in METHODS if method != "bdwp"])
def test_methods_on_rtl(name: str, tmp_path: Path) -> None:
    step, given = lone_conv(GEOMETRIES["stride-2"], of_method(name))
    check_on_rtl(step, given, SPEC, tmp_path)


@pytest.mark.parametrize(("name", "method"), [("resnet", "bdwp"), ("vgg", "dense")])
def test_step_on_rtl(name: str, method: str, tmp_path: Path) -> None:
    config = CONFIGS[name]
    step = conv_step(config, of_method(method), decay=5e-4)
    check_on_rtl(step, conv_given(config, step), SPEC, tmp_path)


def test_stalls_change_no_bit(tmp_path: Path) -> None:
    step = conv_step(RESNET, of_method("srste"), batch=2)
    check_on_rtl(step, conv_given(RESNET, step), SPEC, tmp_path, stall=0.5)
