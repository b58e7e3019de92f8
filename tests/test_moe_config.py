"""Sizes of networks with experts: what is refused, and the published sizes."""

import re
from typing import Any

import pytest

from moesaic.models.errors import InputError
from moesaic.models.moe_config import (
    DENSEVIT_CANVAS,
    M3VIT_SMALL,
    M3VIT_TINY,
    MOEVIT_MNIST,
    MoeVitConfig,
)
from moesaic.models.recipes import CanvasRecipe, load_recipe


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("patch", 5, "patch must divide height = 48, not 5"),
        ("width", 50, "patch must divide width = 50, not 6"),
        ("heads", 3, "heads must divide dim = 64, not 3"),
        ("depth", 0, "depth must be an integer in 1..65536, not 0"),
        ("dim", True, "dim must be an integer"),
        ("class_token", 1, "class_token must be true or false, not 1"),
        ("experts", 1, "experts must be 0 or in 2..64, not 1"),
        ("experts", 65, "experts must be 0 or in 2..64, not 65"),
        ("experts", 0, "expert_hidden and top must be 0 where experts is 0"),
        ("expert_hidden", 0, "expert_hidden must be at least 1"),
        ("top", 5, "top must be in 1..4, not 5"),
        ("top", 0, "top must be in 1..4, not 0"),
        ("outputs", [], "outputs must be 1 to 8 integers"),
        ("outputs", [11, 0], "outputs must be 1 to 8 integers in 1..65536, or all 0"),
        ("outputs", 11, "outputs must be 1 to 8 integers"),
    ],
)
def test_bad_sizes_are_refused(field: str, value: object, message: str) -> None:
    values = MOEVIT_MNIST.to_mapping() | {field: value}
    with pytest.raises(InputError, match=re.escape(message)):
        MoeVitConfig.from_mapping(values)


def test_sizes_survive_a_mapping() -> None:
    for config in (MOEVIT_MNIST, M3VIT_TINY):
        assert MoeVitConfig.from_mapping(config.to_mapping()) == config
    with pytest.raises(InputError, match="model must have exactly the keys"):
        MoeVitConfig.from_mapping({"height": 48})


def test_m3vit_has_the_published_size() -> None:
    """Edge-MoE's constants: 129 tokens of 192, 782,719,488 MACs, gates and experts as counted."""
    assert (M3VIT_TINY.tokens, M3VIT_TINY.head_dim) == (129, 64)
    assert M3VIT_TINY.macs(0) == M3VIT_TINY.macs(1) == 782_719_488
    shapes = M3VIT_TINY.parameter_shapes
    attention = 12 * (4 * 192 * 192)
    experts, dense = 6 * 16 * 2 * 192 * 384, 6 * 2 * 192 * 768
    gates, vectors = 2 * 6 * 16 * 192, 79_488
    outer = 129 * 192 + 192 * 768 + 192
    assert M3VIT_TINY.parameters == attention + experts + dense + gates + vectors + outer
    assert [b for b in range(12) if M3VIT_TINY.has_experts(b)] == [1, 3, 5, 7, 9, 11]
    assert shapes["blocks.1.moe.gates.1.weight"] == (16, 192)
    assert (M3VIT_SMALL.dim, M3VIT_SMALL.heads, M3VIT_SMALL.expert_hidden) == (384, 6, 768)


def test_experts_do_the_macs_of_the_dense_network() -> None:
    for task in (0, 1):
        gates = 2 * 64 * 64 * 8
        assert MOEVIT_MNIST.macs(task) - gates == DENSEVIT_CANVAS.macs(task)
    assert MOEVIT_MNIST.tokens == 64


def test_recipes_have_these_sizes() -> None:
    wanted: dict[str, Any] = {
        "moevit-mnist": MOEVIT_MNIST.to_mapping(),
        "densevit-canvas": DENSEVIT_CANVAS.to_mapping(),
        "m3vit-tiny": M3VIT_TINY.to_mapping() | {"outputs": [11, 1]},
    }
    found: dict[str, CanvasRecipe] = {}
    for name, model in wanted.items():
        recipe = load_recipe(name)
        assert isinstance(recipe, CanvasRecipe)
        assert (recipe.name, recipe.model.to_mapping()) == (name, model)
        found[name] = recipe
    same = [
        {f: getattr(found[n], f) for f in recipe.__slots__ if f not in ("name", "model")}
        for n in ("moevit-mnist", "densevit-canvas")
    ]
    assert same[0] == same[1]
