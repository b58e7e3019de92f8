"""From the weights of a multi-task transformer with experts to the float network of one task."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.block_layers import WeightState, attention_layers, perceptron_layers
from moesaic.models.errors import InputError
from moesaic.models.moe_config import MoeVitConfig
from moesaic.models.network import Add, Embed, Experts, Gate, Image, Layer, Linear, Network

EPSILON = 1e-6


def check_task(task: int, tasks: int) -> None:
    """Raise InputError unless a model of `tasks` tasks has `task`."""
    if type(task) is not int or not 0 <= task < tasks:
        raise InputError(f"task must be in 0..{tasks - 1}, not {task!r:.60}")


def moe_network(
    name: str, weights: Mapping[str, NDArray[Any]], config: MoeVitConfig, task: int = 0
) -> Network:
    """Return the network of one task: its gates, all experts, its head.

    All tasks have the same layers but for weights of gates and head. The class token, where there
    is one, is the last token; its position and value are the last row of `pos_embed`. With heads
    the result is (tokens, outputs of the task), the class token's row among them; without, it is
    the residual stream behind the last block. Raises InputError for weights that do not fit.
    """
    check_task(task, config.tasks)
    state = WeightState(weights)
    dim = config.dim
    kernel = state.take("patch_embed.proj.weight", *config.outer_shapes["patch_embed.proj.weight"])
    layers: list[Layer] = [
        Image(
            name="image",
            channels=config.channels,
            height=config.height,
            width=config.width,
            patch=config.patch,
        ),
        Linear(
            name="patch_embed.proj",
            x="image",
            weight=np.ascontiguousarray(kernel.reshape(dim, -1).T),
            bias=state.take("patch_embed.proj.bias", dim),
        ),
        Embed(
            name="embed",
            x="patch_embed.proj",
            table=state.take("pos_embed", 1, config.tokens, dim)[0],
        ),
    ]
    for block in range(config.depth):
        prefix, x = f"blocks.{block}", layers[-1].name
        layers += attention_layers(state, prefix, x, dim=dim, heads=config.heads, epsilon=EPSILON)
        x = layers[-1].name
        if config.has_experts(block):
            layers += _expert_layers(state, prefix, x, config, task)
        else:
            layers += perceptron_layers(state, prefix, x, dim=dim, epsilon=EPSILON)
    if config.headed:
        layers.append(state.norm("norm", layers[-1].name, dim, EPSILON))
        weight, bias = state.linear(f"heads.{task}", dim, config.outputs[task])
        layers.append(Linear(name="head", x="norm", weight=weight, bias=bias))
    if unknown := sorted(set(weights) - config.parameter_shapes.keys()):
        raise InputError(f"weight {unknown[0]!r:.80} is not a parameter of this configuration")
    return Network(name=name, layers=tuple(layers))


def _expert_layers(
    state: WeightState, prefix: str, x: str, config: MoeVitConfig, task: int
) -> list[Layer]:
    """Return the expert half of a pre-norm block that reads the stream `x`; its Add is last."""
    moe, norm2 = f"{prefix}.moe", f"{prefix}.norm2"
    experts, hidden, dim = config.experts, config.expert_hidden, config.dim
    gate = state.take(f"{moe}.gates.{task}.weight", experts, dim)
    return [
        state.norm(norm2, x, dim, EPSILON),
        Gate(name=f"{moe}.gate", x=norm2, weight=np.ascontiguousarray(gate.T), top=config.top),
        Experts(
            name=f"{moe}.experts",
            x=norm2,
            gate=f"{moe}.gate",
            hidden_weight=state.take(f"{moe}.fc1.weight", experts, dim, hidden),
            hidden_bias=state.take(f"{moe}.fc1.bias", experts, hidden),
            weight=state.take(f"{moe}.fc2.weight", experts, hidden, dim),
            bias=state.take(f"{moe}.fc2.bias", experts, dim),
        ),
        Add(name=f"{moe}.add", x=f"{moe}.experts", residual=x),
    ]
