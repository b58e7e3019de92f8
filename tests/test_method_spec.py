"""A method's switches: what they may hold, and one line for each thing that may not."""

from dataclasses import replace

import pytest

from moesaic.models.errors import InputError
from moesaic.models.training_method import MethodSpec
from moesaic.models.vit_config import VIT_MNIST

BDWP = MethodSpec(method="bdwp", nm="2:8")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"method": "magic"}, "method.method must be one of dense, bdwp, .*, not 'magic'"),
        ({}, "method.method is missing"),
        (3, "method must be a mapping"),
        ({"method": "bdwp"}, "method.nm must be N:M such as '2:8' for bdwp, not None"),
        ({"method": "dense", "nm": "2:8"}, "method.nm must be left out where method is dense"),
        ({"method": "bdwp", "nm": "3:7"}, "method.nm: sparsity must be N:M"),
        ({"method": "sdgp", "nm": "2:8", "decay": 0.1}, "method.decay must be left out unless"),
        (
            {"method": "bdwp", "nm": "2:8", "decay": float("nan")},
            r"decay must be a number in 0\.\.1",
        ),
        ({"method": "bdwp", "nm": "2:8", "refresh": 0}, "method.refresh must be an integer in 1"),
        ({"method": "bdwp", "nm": "2:8", "rescale": True}, "method.rescale must be false"),
        ({"method": "bdwp", "nm": "2:8", "update": "2:8"}, "method.update must be left out, or"),
        ({"method": "sdwp", "nm": "2:8", "update": "2:4"}, "method.update must be left out, or"),
        ({"method": "bdwp", "nm": "2:8", "exceptions": "first"}, "exceptions must be a list"),
        ({"method": "bdwp", "nm": "2:8", "exceptions": [1]}, "exceptions must be a list"),
        ({"method": "bdwp", "nm": "2:8", "mask": 1}, "unknown key 'mask' in method; allowed are"),
    ],
)
def test_bad_methods_are_refused(values: object, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        MethodSpec.from_mapping(values)
    assert "\n" not in str(caught.value)


def test_decay_is_a_switch() -> None:
    decays = {
        ("srste", None): 2e-4,  # the reference's
        ("srste", 0): 0,
        ("srste", 0.5): 0.5,
        ("bdwp", None): 0,
        ("bdwp", 2e-4): 2e-4,
    }
    for (method, decay), wanted in decays.items():
        assert MethodSpec(method=method, nm="2:8", decay=decay).rule.decay == wanted


def test_an_exception_must_name_a_layer() -> None:
    spec = replace(BDWP, exceptions=("head", "stem"))
    with pytest.raises(InputError, match=r"exceptions must be of first, .*head, not 'stem'"):
        spec.rules(VIT_MNIST.weight_layers)
