"""Blocks of a float network from weights by name, whatever the network around them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.network import (
    Add,
    Attention,
    Gelu,
    Layer,
    Linear,
    Norm,
)

Array = NDArray[np.float32]


class WeightState:
    """Weights by name; what is never asked for is refused at the end."""

    def __init__(self, weights: Mapping[str, NDArray[Any]]) -> None:
        self.weights = weights
        self.used: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self.weights

    def take(self, name: str, *shape: int | None) -> Array:
        """Return a weight; its shape must be `shape`, where None stands for any size."""
        if name not in self.weights:
            raise InputError(f"weight {name} is missing")
        value = np.asarray(self.weights[name])
        fits = len(value.shape) == len(shape) and all(
            want in (None, have) for want, have in zip(shape, value.shape, strict=True)
        )
        if not fits or value.dtype.kind != "f" or not value.size:
            wanted = ", ".join("any" if size is None else str(size) for size in shape)
            raise InputError(
                f"weight {name} must be float of shape ({wanted}), "
                f"not {value.dtype} of shape {value.shape}"
            )
        if not np.isfinite(value).all():
            raise InputError(f"weight {name} must be finite, but holds NaN or infinity")
        self.used.add(name)
        return value.astype(np.float32)

    def optional(self, name: str, *shape: int, default: float) -> Array:
        """Return a weight, or `default` everywhere where it is absent."""
        if name in self.weights:
            return self.take(name, *shape)
        return np.full(shape, default, dtype=np.float32)

    def linear(self, prefix: str, inputs: int, outputs: int | None = None) -> tuple[Array, Array]:
        """Return weight (inputs, outputs) and bias; a missing bias is zero."""
        weight = self.take(f"{prefix}.weight", outputs, inputs).T
        return weight, self.optional(f"{prefix}.bias", weight.shape[1], default=0.0)

    def norm(self, name: str, x: str, dim: int, epsilon: float, token: int | None = None) -> Norm:
        """Return the LayerNorm `name` of `x`."""
        gain = self.take(f"{name}.weight", dim)
        offset = self.optional(f"{name}.bias", dim, default=0.0)
        return Norm(name=name, x=x, gain=gain, offset=offset, epsilon=epsilon, token=token)


def attention_layers(
    state: WeightState,
    prefix: str,
    x: str,
    *,
    dim: int,
    heads: int,
    epsilon: float,
    nm: NM | None = None,
) -> list[Layer]:
    """Return the attention half of a pre-norm block that reads the stream `x`; its Add is last."""
    attn, norm1 = f"{prefix}.attn", f"{prefix}.norm1"
    weight, bias = state.linear(f"{attn}.qkv", dim, 3 * dim)
    bias[dim : 2 * dim] = 0  # softmax does not see a constant per query
    parts = [np.ascontiguousarray(part) for part in np.split(weight, 3, axis=1)]
    fused = [
        Linear(name=f"{attn}.{letter}", x=norm1, weight=part, bias=part_bias, nm=nm)
        for letter, part, part_bias in zip("qkv", parts, np.split(bias, 3), strict=True)
    ]
    return [
        state.norm(norm1, x, dim, epsilon),
        *fused,
        Attention(
            name=attn,
            q=f"{attn}.q",
            k=f"{attn}.k",
            v=f"{attn}.v",
            heads=heads,
            scale=(dim // heads) ** -0.5,
        ),
        _scaled(state, f"{attn}.proj", attn, (dim, dim), f"{prefix}.ls1", nm),
        Add(name=f"{attn}.add", x=f"{attn}.proj", residual=x),
    ]


def perceptron_layers(
    state: WeightState, prefix: str, x: str, *, dim: int, epsilon: float, nm: NM | None = None
) -> list[Layer]:
    """Return the perceptron half of a pre-norm block that reads the stream `x`; its Add is last."""
    mlp, norm2 = f"{prefix}.mlp", f"{prefix}.norm2"
    weight, bias = state.linear(f"{mlp}.fc1", dim)
    shape = (weight.shape[1], dim)
    return [
        state.norm(norm2, x, dim, epsilon),
        Linear(name=f"{mlp}.fc1", x=norm2, weight=weight, bias=bias, nm=nm),
        Gelu(name=f"{mlp}.gelu", x=f"{mlp}.fc1"),
        _scaled(state, f"{mlp}.fc2", f"{mlp}.gelu", shape, f"{prefix}.ls2", nm),
        Add(name=f"{mlp}.add", x=f"{mlp}.fc2", residual=x),
    ]


def _scaled(
    state: WeightState, name: str, x: str, shape: tuple[int, int], scale: str, nm: NM | None
) -> Linear:
    """Return the linear layer `name` with LayerScale folded in."""
    weight, bias = state.linear(name, *shape)
    gain = state.optional(f"{scale}.gamma", shape[1], default=1.0)
    return Linear(name=name, x=x, weight=weight * gain, bias=bias * gain, nm=nm)
