"""Small random networks of every form that can be quantised, for tests of models and RTL."""

import numpy as np

from moesaic.models.accel import NM
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Experts,
    Floats,
    Gate,
    Gelu,
    Image,
    Layer,
    Linear,
    MeanPool,
    Network,
    Norm,
    Select,
)
from moesaic.models.sparse import prune

FORMS = ("prenorm", "pooled", "postnorm", "selected")
"""Dense ones. ``experts`` is one more: a mixture of experts, and a head for each token."""


class _Builder:
    """Layers so far; each method appends some and returns the name of the last."""

    def __init__(self, seed: int, dim: int, heads: int, mlp: int, nm: NM | None) -> None:
        self.rng = np.random.default_rng(seed)
        self.dim, self.heads, self.mlp, self.nm = dim, heads, mlp, nm
        self.layers: list[Layer] = []

    def append(self, layer: Layer) -> str:
        self.layers.append(layer)
        return layer.name

    def normal(self, *shape: int, deviation: float) -> Floats:
        return (deviation * self.rng.standard_normal(shape)).astype(np.float32)

    def linear(self, name: str, x: str, inputs: int, outputs: int, *, pruned: bool = False) -> str:
        weight = self.normal(inputs, outputs, deviation=inputs**-0.5)
        nm = self.nm if pruned else None
        if nm is not None:
            weight *= prune(weight, nm) * np.float32(nm.expansion**0.5)
        bias = self.normal(outputs, deviation=0.1)
        return self.append(Linear(name=name, x=x, weight=weight, bias=bias, nm=nm))

    def norm(self, name: str, x: str, token: int | None = None) -> str:
        gain, offset = (
            1 + self.normal(self.dim, deviation=0.1),
            self.normal(self.dim, deviation=0.1),
        )
        return self.append(
            Norm(name=name, x=x, gain=gain, offset=offset, epsilon=1e-6, token=token)
        )

    def attention(self, prefix: str, x: str) -> str:
        q, k, v = (
            self.linear(f"{prefix}.{part}", x, self.dim, self.dim, pruned=True) for part in "qkv"
        )
        scale = 2 * (self.dim // self.heads) ** -0.5
        mixed = self.append(
            Attention(name=f"{prefix}.attn", q=q, k=k, v=v, heads=self.heads, scale=scale)
        )
        return self.linear(f"{prefix}.proj", mixed, self.dim, self.dim, pruned=True)

    def perceptron(self, prefix: str, x: str) -> str:
        hidden = self.linear(f"{prefix}.fc1", x, self.dim, self.mlp, pruned=True)
        active = self.append(Gelu(name=f"{prefix}.gelu", x=hidden))
        return self.linear(f"{prefix}.fc2", active, self.mlp, self.dim, pruned=True)

    def mixture(self, prefix: str, x: str, experts: int, top: int) -> str:
        weight = self.normal(self.dim, experts, deviation=1.5 * self.dim**-0.5)
        gate = self.append(Gate(name=f"{prefix}.gate", x=x, weight=weight, top=top))
        return self.append(
            Experts(
                name=f"{prefix}.experts",
                x=x,
                gate=gate,
                hidden_weight=self.normal(experts, self.dim, self.mlp, deviation=self.dim**-0.5),
                hidden_bias=self.normal(experts, self.mlp, deviation=0.1),
                weight=self.normal(experts, self.mlp, self.dim, deviation=self.mlp**-0.5),
                bias=self.normal(experts, self.dim, deviation=0.1),
            )
        )

    def prenorm(self, prefix: str, x: str, experts: int = 0, top: int = 0) -> str:
        branch = self.attention(prefix, self.norm(f"{prefix}.norm1", x))
        x = self.append(Add(name=f"{prefix}.add1", x=branch, residual=x))
        norm = self.norm(f"{prefix}.norm2", x)
        if experts:
            branch = self.mixture(prefix, norm, experts, top)
        else:
            branch = self.perceptron(prefix, norm)
        return self.append(Add(name=f"{prefix}.add2", x=branch, residual=x))

    def postnorm(self, prefix: str, x: str) -> str:
        branch = self.attention(prefix, x)
        x = self.append(Add(name=f"{prefix}.add1", x=branch, residual=x))
        x = self.norm(f"{prefix}.norm1", x)
        branch = self.perceptron(prefix, x)
        x = self.append(Add(name=f"{prefix}.add2", x=x, residual=branch))  # either way round
        return self.norm(f"{prefix}.norm2", x)


def sample_network(
    form: str,
    *,
    seed: int = 0,
    dim: int = 12,
    heads: int = 3,
    mlp: int = 20,
    depth: int = 1,
    classes: int = 5,
    nm: NM | None = None,
    tokens: int = 10,
    experts: int = 4,
    top: int = 2,
) -> Network:
    """Return a network of `tokens` tokens; all but the class token are patches of 2 by 2 pixels.

    ``pooled`` has no class token and so one token less; ``postnorm`` takes embeddings.

    ``prenorm`` has a class token and a norm of it alone, ``selected`` a norm of all tokens and a
    selection; ``pooled`` averages the patches before its norm; ``postnorm`` is like BERT;
    ``experts`` has mixtures of `experts` in place of perceptrons, of which each token goes to
    `top`, and a head for each token. With `nm` the linear layers inside blocks are pruned.
    """
    if form not in (*FORMS, "experts"):
        raise ValueError(f"form must be one of {', '.join(FORMS)}, experts, not {form!r}")
    if tokens < (1 if form == "postnorm" else 2):
        raise ValueError(f"tokens must be at least 2, or 1 for postnorm, not {tokens}")
    net = _Builder(seed, dim, heads, mlp, nm)
    last = tokens - 1
    if form == "postnorm":
        x = net.append(Image(name="image", channels=1, height=tokens, width=dim, patch=0))
    else:
        sides = (6, 6) if last == 9 else (2 * last, 2)
        x = net.append(Image(name="image", channels=1, height=sides[0], width=sides[1], patch=2))
        x = net.linear("patches", x, 4, dim)
    tokens = last if form == "pooled" else tokens
    x = net.append(Embed(name="embed", x=x, table=net.normal(tokens, dim, deviation=0.5)))
    if form == "postnorm":
        x = net.norm("norm0", x)
    for block in range(depth):
        match form:
            case "postnorm":
                x = net.postnorm(f"block{block}", x)
            case "experts":
                x = net.prenorm(f"block{block}", x, experts, top)
            case _:
                x = net.prenorm(f"block{block}", x)
    match form:
        case "prenorm":
            x = net.norm("norm", x, token=last)
        case "experts":
            x = net.norm("norm", x)
        case "pooled":
            x = net.norm("norm", net.append(MeanPool(name="pool", x=x, tokens=last)))
        case "selected":
            x = net.append(Select(name="class", x=net.norm("norm", x), token=last))
        case "postnorm":
            x = net.append(Select(name="class", x=x, token=last))
    net.linear("head", x, dim, classes)
    return Network(name=form, layers=tuple(net.layers))


def sample_images(network: Network, count: int, *, seed: int = 1) -> Floats:
    """Return normally distributed images that fit `network`."""
    image = network.layers[0]
    if not isinstance(image, Image):
        raise TypeError(f"{image.name}: must be an Image")
    shape: tuple[int, ...] = (image.channels, image.height, image.width)
    if not image.patch:
        shape = shape[1:]
    return np.random.default_rng(seed).standard_normal((count, *shape)).astype(np.float32)
