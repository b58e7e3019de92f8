"""The float network: what importers make and quantisation reads. Encoders, one token matrix each.

Values are matrices of tokens by channels. The class token, where there is one, is the LAST token
(importers reorder it, positions and mask alike), so that patches begin at token 0.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accel import NM

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """What every float layer has: its name, which is also the name of its value."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Image(Layer):
    """The input image (channels, height, width), cut into rows of `patch` by `patch` pixels.

    A row holds channel, patch row, patch column in this order: what a patch convolution's weight
    holds too. With ``patch == 0`` the input is (tokens, channels) already, such as embeddings.
    """

    channels: int
    height: int
    width: int
    patch: int

    @property
    def tokens(self) -> int:
        """Number of rows."""
        if not self.patch:
            return self.height
        return (self.height // self.patch) * (self.width // self.patch)

    @property
    def values(self) -> int:
        """Values per row."""
        return self.width if not self.patch else self.channels * self.patch * self.patch


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(Layer):
    """``x @ weight + bias``; `weight` is (inputs, outputs); `nm` where pruned N:M along inputs."""

    x: str
    weight: Floats
    bias: Floats
    nm: NM | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed(Layer):
    """Start of the residual stream: rows of `x` on top of `table` (positions and class token).

    `table` is (tokens, channels); rows of `x` are added to its first rows; the rest is the class
    token with its position.
    """

    x: str
    table: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Norm(Layer):
    """LayerNorm over channels with gain and offset; of all tokens, or of `token` alone."""

    x: str
    gain: Floats
    offset: Floats
    epsilon: float
    token: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention(Layer):
    """Softmax attention of q, k, v (tokens, heads * head_channels) with a scale on the scores."""

    q: str
    k: str
    v: str
    heads: int
    scale: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Gelu(Layer):
    """GELU of a Linear; `tanh` for the approximate form."""

    x: str
    tanh: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Add(Layer):
    """Residual addition: `x` (the branch) onto `residual` (the stream)."""

    x: str
    residual: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Select(Layer):
    """One token of the stream."""

    x: str
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanPool(Layer):
    """Mean over the first `tokens` tokens."""

    x: str
    tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate(Layer):
    """Expert gate: softmax of ``x @ weight``, then the `top` largest; (tokens, experts).

    Values are the chosen experts' probabilities and zero elsewhere. With `renormalise` the softmax
    is that of the chosen ones alone. `weight` is (channels, experts); ties go to the lowest expert.
    """

    x: str
    weight: Floats
    top: int
    renormalise: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts(Layer):
    """Sum over the experts of a token, each a two-layer perceptron with GELU times its gate value.

    ``gate[t, e] * (gelu(x[t] @ hidden_weight[e] + hidden_bias[e]) @ weight[e] + bias[e])``, of
    shapes (experts, channels, hidden), (experts, hidden), (experts, hidden, channels) and
    (experts, channels).
    """

    x: str
    gate: str
    hidden_weight: Floats
    hidden_bias: Floats
    weight: Floats
    bias: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A float encoder; the last layer is the result. `labels` is free text for reports."""

    name: str
    layers: tuple[Layer, ...]
    labels: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, name: str) -> Layer:
        """Return the layer called `name`."""
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)
