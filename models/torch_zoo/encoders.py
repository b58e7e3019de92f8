"""One small encoder in the many spellings that are met outside: what the importer is tried on."""

from collections.abc import Callable
from math import pi, sqrt

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

HEADS, IMAGE, PATCH, PATCHES, CHANNELS = 5, 12, 4, 9, 3


class SpeltNorm(nn.Module):
    """LayerNorm in primitive operators."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.bias = nn.Parameter(torch.zeros(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis."""
        centred = x - x.mean(-1, keepdim=True)
        variance = centred.pow(2).mean(-1, keepdim=True)
        return self.weight * (centred / torch.sqrt(variance + 1e-6)) + self.bias


class SpeltGelu(nn.Module):
    """GELU, or its tanh form, in primitive operators."""

    def __init__(self, *, tanh: bool) -> None:
        super().__init__()
        self.tanh = tanh

    def forward(self, x: Tensor) -> Tensor:
        """Return GELU of `x`."""
        if self.tanh:
            return 0.5 * x * (1 + torch.tanh(sqrt(2 / pi) * (x + 0.044715 * torch.pow(x, 3))))
        return x * 0.5 * (1.0 + torch.erf(x / sqrt(2)))


def _heads(x: Tensor) -> Tensor:
    return x.unflatten(-1, (HEADS, -1)).transpose(1, 2)


def _softmax(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    return torch.softmax(q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5, -1) @ v


def by_permute(x: Tensor) -> Tensor:
    """Take q, k, v as timm does."""
    batch, tokens, width = x.shape
    parts = x.reshape(batch, tokens, 3, HEADS, width // 3 // HEADS).permute(2, 0, 3, 1, 4)
    return _softmax(*parts.unbind(0)).transpose(1, 2).reshape(batch, tokens, -1)


def by_chunk(x: Tensor) -> Tensor:
    """Take q, k, v by chunk; divide the scores."""
    q, k, v = (_heads(part) for part in x.chunk(3, -1))
    scores = (q @ k.transpose(-1, -2)) / sqrt(q.shape[-1])
    return (torch.softmax(scores, -1) @ v).transpose(1, 2).flatten(2)


def by_split(x: Tensor) -> Tensor:
    """Take q, k, v by split; attention is one operator."""
    q, k, v = (_heads(part) for part in torch.split(x, x.shape[-1] // 3, -1))
    return scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def by_slices(x: Tensor) -> Tensor:
    """Take q, k, v from each head's own channels; scale both q and k."""
    parts, size = _heads(x), x.shape[-1] // 3 // HEADS
    q, k, v = parts[..., :size], parts[..., size : 2 * size], parts[..., 2 * size :]
    scores = (q * size**-0.25) @ (k * size**-0.25).transpose(-1, -2)
    return (torch.softmax(scores, -1) @ v).permute(0, 2, 1, 3).contiguous().flatten(2)


def by_interleaving(x: Tensor) -> Tensor:
    """Have the heads innermost; neighbouring channels belong to different heads."""
    q, k, v = x.unflatten(-1, (3, -1, HEADS)).permute(2, 0, 4, 1, 3).unbind(0)
    return _softmax(q, k, v).transpose(1, 2).flatten(2)


def by_bmm(x: Tensor) -> Tensor:
    """Fold heads into the batch."""
    batch, tokens, width = x.shape
    parts = x.reshape(batch, tokens, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
    q, k, v = parts.reshape(3, batch * HEADS, tokens, -1)
    scores = torch.bmm(q, k.transpose(1, 2)) * (width // 3 // HEADS) ** -0.5
    mixed = torch.bmm(torch.softmax(scores, -1), v).reshape(batch, HEADS, tokens, -1)
    return mixed.permute(0, 2, 1, 3).reshape(batch, tokens, -1)


def by_einsum(x: Tensor) -> Tensor:
    """Multiply by Einstein sums."""
    q, k, v = x.unflatten(-1, (3, HEADS, -1)).unbind(2)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) * q.shape[-1] ** -0.5
    return torch.einsum("bhij,bjhd->bihd", scores.softmax(-1), v).flatten(2)


class Block(nn.Module):
    """Pre-norm block with LayerScale around a spelling of attention."""

    def __init__(
        self,
        dim: int,
        mlp: int,
        mix: Callable[[Tensor], Tensor],
        act: nn.Module,
        norm: Callable[[int], nn.Module],
    ) -> None:
        super().__init__()
        self.mix = mix
        self.norm1, self.norm2 = norm(dim), norm(dim)
        self.qkv, self.proj = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.fc1, self.act, self.fc2 = nn.Linear(dim, mlp), act, nn.Linear(mlp, dim)
        self.scale1, self.scale2 = nn.Parameter(torch.ones(dim)), nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus what both branches add."""
        x = self.scale1 * self.proj(self.mix(self.qkv(self.norm1(x)))) + x
        return x + self.fc2(self.act(self.fc1(self.norm2(x)))) * self.scale2


class Encoder(nn.Module):
    """A vision transformer of sizes that divide nothing; options choose the spelling.

    `pool` is what becomes of the tokens: ``class`` (norm, then class token), ``first`` (class
    token, then norm), ``mean`` (no class token), ``patches`` (mean without it), ``all``, ``bare``
    (like mean, and no positions). With `rearrange` the patches are cut by reshapes and the image
    is normalised inside.
    """

    def __init__(
        self,
        *,
        dim: int = 60,
        mlp: int = 100,
        mix: Callable[[Tensor], Tensor] = by_permute,
        act: nn.Module | None = None,
        norm: Callable[[int], nn.Module] = nn.LayerNorm,
        pool: str = "class",
        rearrange: bool = False,
    ) -> None:
        super().__init__()
        self.pool, self.rearrange = pool, rearrange
        self.embed: nn.Module = nn.Conv2d(CHANNELS, dim, PATCH, PATCH)
        if rearrange:
            self.embed = nn.Linear(CHANNELS * PATCH * PATCH, dim)
        extra = 0 if pool in ("mean", "bare") else 1
        self.token = nn.Parameter(torch.zeros(1, extra, dim))
        self.positions = nn.Parameter(torch.zeros(1, PATCHES + extra, dim))
        act = act or nn.GELU()
        self.blocks = nn.Sequential(*(Block(dim, mlp, mix, act, norm) for _ in range(2)))
        self.norm, self.head = norm(dim), nn.Linear(dim, 7)

    def patches(self, x: Tensor) -> Tensor:
        """Return the patches of `x` as tokens."""
        if not self.rearrange:
            return self.embed(x).flatten(2).transpose(1, 2)
        x = (x - torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1)) / 0.25
        side = IMAGE // PATCH
        x = x.reshape(-1, CHANNELS, side, PATCH, side, PATCH).permute(0, 2, 4, 3, 5, 1)
        return self.embed(x.reshape(-1, PATCHES, PATCH * PATCH * CHANNELS))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits, or all tokens."""
        x = self.patches(x)
        if self.pool not in ("mean", "bare"):
            x = torch.cat([self.token.expand(x.shape[0], -1, -1), x], dim=1)
        x = self.blocks(x if self.pool == "bare" else x + self.positions)
        if self.pool == "first":
            return self.head(self.norm(x[:, 0]))
        x = self.norm(x)
        if self.pool == "all":
            return x
        if self.pool == "class":
            return self.head(x[:, 0])
        return self.head((x[:, 1:] if self.pool == "patches" else x).mean(dim=1))


VARIANTS: dict[str, Callable[[], Encoder]] = {
    "permute": Encoder,
    "chunk": lambda: Encoder(mix=by_chunk),
    "split": lambda: Encoder(mix=by_split),
    "slices": lambda: Encoder(mix=by_slices),
    "interleaved": lambda: Encoder(mix=by_interleaving),
    "bmm": lambda: Encoder(mix=by_bmm),
    "einsum": lambda: Encoder(mix=by_einsum),
    "tanh": lambda: Encoder(act=nn.GELU("tanh")),
    "spelt": lambda: Encoder(act=SpeltGelu(tanh=False), norm=SpeltNorm),
    "spelt-tanh": lambda: Encoder(act=SpeltGelu(tanh=True), norm=SpeltNorm),
    "first": lambda: Encoder(pool="first"),
    "mean": lambda: Encoder(pool="mean"),
    "patches": lambda: Encoder(pool="patches"),
    "bare": lambda: Encoder(pool="bare"),
    "all": lambda: Encoder(pool="all"),
    "rearrange": lambda: Encoder(rearrange=True),
}


def shaken(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw all weights anew, so that no gain is one and no bias zero, and return the model."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            fan = parameter.shape[-1] if parameter.dim() > 1 else 4
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise * fan**-0.5 + (parameter.dim() == 1) * 0.5)
    return model.eval()
