"""A plain vision transformer whose state dict has the names of timm and DeiT."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from moesaic.models.vit_config import BlockSizes, VitConfig

NORM_EPS = 1e-6


class PatchEmbed(nn.Module):
    """Cut (B, C, H, W) into patches and project each: (B, patches, dim)."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.channels, config.dim, config.patch, stride=config.patch)

    def forward(self, x: Tensor) -> Tensor:
        """Return the patches of `x` as tokens."""
        return self.proj(x).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Softmax attention over all tokens: (B, tokens, dim) to the same shape."""

    def __init__(self, config: BlockSizes) -> None:
        super().__init__()
        self.heads = config.heads
        self.head_dim = config.head_dim
        self.qkv = nn.Linear(config.dim, 3 * config.dim)
        self.proj = nn.Linear(config.dim, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Mix the tokens of `x`."""
        batch, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.heads, self.head_dim)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        scores = torch.matmul(q, k.transpose(-2, -1)) * self.head_dim**-0.5
        mixed = torch.matmul(scores.softmax(dim=-1), v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, dim))


class Mlp(nn.Module):
    """Linear, exact erf GELU, linear."""

    def __init__(self, config: BlockSizes) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.dim, config.mlp)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(config.mlp, config.dim)

    def forward(self, x: Tensor) -> Tensor:
        """Work on each token of `x` by itself."""
        return self.fc2(self.act(self.fc1(x)))


class Block(nn.Module):
    """Pre-norm residual block: attention, then the perceptron."""

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.mlp = Mlp(config)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` plus what both branches add."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Vit(nn.Module):
    """Vision transformer: images (B, channels, image, image) to logits (B, classes).

    Pre-norm blocks and a head on the class token (Dosovitskiy et al. 2020, section 3.1); only
    operators that torch.export and torch.onnx.export carry over unchanged.
    """

    def __init__(self, config: VitConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = PatchEmbed(config)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, config.dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.dim))
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.depth))
        self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.head = nn.Linear(config.dim, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of images `x`."""
        x = self.patch_embed(x)
        x = torch.cat([self.cls_token.expand(x.shape[0], -1, -1), x], dim=1) + self.pos_embed
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)[:, 0])


def initialise(model: Vit, generator: torch.Generator) -> None:
    """Draw fresh weights: truncated normal of deviation 0.02, Xavier inside the blocks."""
    for name, parameter in model.named_parameters():
        if ".norm" in name or name.startswith("norm"):
            nn.init.constant_(parameter, float(name.endswith("weight")))
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name.startswith("blocks"):
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.trunc_normal_(parameter, std=0.02, generator=generator)


def build_vit(config: VitConfig, weights: Mapping[str, NDArray[np.float32]]) -> Vit:
    """Return the network in evaluation mode holding `weights`, as `load_weights` gives them."""
    model = Vit(config)
    model.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
    return model.eval()


def weights_of(model: nn.Module) -> dict[str, NDArray[np.float32]]:
    """Return a copy of the state dict as numpy arrays."""
    return {name: w.detach().numpy().copy() for name, w in model.state_dict().items()}


@torch.no_grad()
def predict(model: nn.Module, images: NDArray[np.float32], batch: int = 250) -> NDArray[np.float32]:
    """Return logits (N, classes) for images (N, channels, image, image)."""
    parts = torch.from_numpy(np.array(images)).split(batch)
    return torch.cat([model(part) for part in parts]).numpy()
