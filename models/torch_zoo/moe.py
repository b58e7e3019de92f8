"""A vision transformer with experts for several tasks, as M3ViT trains it.

M3ViT: Fan et al. 2022, arXiv 2210.14793, section 3. Gate and losses: V-MoE, Riquelme et al. 2021,
section 2 and appendix A.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor, nn
from torch.nn import functional

from moesaic.models.moe_config import MoeVitConfig
from moesaic.models.torch_zoo.vit import NORM_EPS, Attention, Mlp


@dataclass(slots=True, kw_only=True)
class Balance:
    """What gates need in training, and the losses that they leave behind.

    `noise` times 1/experts is the deviation of the normal noise on the logits; `losses` gets one
    value from each gate: the mean of importance and load loss, each the squared coefficient of
    variation over experts (V-MoE, appendix A).
    """

    generator: Generator
    noise: float
    losses: list[Tensor] = field(default_factory=list)

    def noisy(self, logits: Tensor) -> Tensor:
        """Return logits (tokens, experts) with noise on them."""
        deviation = self.noise / logits.shape[1]
        return logits + deviation * torch.randn(logits.shape, generator=self.generator)

    def note(self, logits: Tensor, noisy: Tensor, top: int) -> None:
        """Keep the loss of one gate.

        Importance is the sum over tokens of the softmax; load is the number of tokens expected when
        the noise is drawn anew against the same `top`-th largest logit.
        """
        loss = _variation(noisy.softmax(dim=-1).sum(dim=0))
        if self.noise > 0:
            threshold = noisy.topk(top, dim=-1).values[:, -1:]
            distance = (logits - threshold) * (logits.shape[1] / self.noise)
            load = torch.special.ndtr(distance).sum(dim=0)
            loss = (loss + _variation(load)) / 2
        self.losses.append(loss)


def _variation(sums: Tensor) -> Tensor:
    """Return the squared coefficient of variation."""
    return sums.var(unbiased=False) / (sums.mean() ** 2 + 1e-10)


class _Stack(nn.Module):
    """Weights of a linear layer of all experts."""

    def __init__(self, experts: int, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(experts, inputs, outputs))
        self.bias = nn.Parameter(torch.zeros(experts, outputs))


class ExpertLayer(nn.Module):
    """Gate of each task, and experts that all tasks share: (B, tokens, dim) to the same shape.

    Softmax over all experts, then the `top` largest, whose probabilities are the weights as they
    are; of equal logits the lowest expert wins.
    """

    def __init__(self, config: MoeVitConfig) -> None:
        super().__init__()
        self.top = config.top
        self.gates = nn.ModuleList(
            nn.Linear(config.dim, config.experts, bias=False) for _ in range(config.tasks)
        )
        self.fc1 = _Stack(config.experts, config.dim, config.expert_hidden)
        self.fc2 = _Stack(config.experts, config.expert_hidden, config.dim)

    def forward(self, x: Tensor, task: int, balance: Balance | None) -> Tensor:
        """Send each token of `x` through its experts for `task`, expert by expert."""
        rows = x.reshape(-1, x.shape[-1])
        logits = self.gates[task](rows)
        used = logits if balance is None else balance.noisy(logits)
        experts = used.detach().sort(dim=-1, descending=True, stable=True).indices[:, : self.top]
        scores = used.softmax(dim=-1).gather(1, experts)
        if balance is not None:
            balance.note(logits, used, self.top)
        order = experts.reshape(-1).argsort(stable=True)  # choices of experts 0, 1, 2 ...
        lengths = torch.bincount(experts.reshape(-1), minlength=logits.shape[1]).tolist()
        queues = rows[order // self.top].split(lengths)
        parts = [self._expert(e, queue) for e, queue in enumerate(queues)]
        back = torch.empty_like(order)
        back[order] = torch.arange(len(order))
        chosen = torch.cat(parts)[back].reshape(len(rows), self.top, -1)
        return (chosen * scores[:, :, None]).sum(dim=1).reshape(x.shape)

    def _expert(self, e: int, queue: Tensor) -> Tensor:
        hidden = functional.gelu(torch.addmm(self.fc1.bias[e], queue, self.fc1.weight[e]))
        return torch.addmm(self.fc2.bias[e], hidden, self.fc2.weight[e])


class MoeBlock(nn.Module):
    """Pre-norm residual block: attention, then a perceptron or experts."""

    def __init__(self, config: MoeVitConfig, block: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.attn = Attention(config)
        self.norm2 = nn.LayerNorm(config.dim, eps=NORM_EPS)
        self.routed = config.has_experts(block)
        if self.routed:
            self.moe = ExpertLayer(config)
        else:
            self.mlp = Mlp(config)

    def forward(self, x: Tensor, task: int, balance: Balance | None) -> Tensor:
        """Return `x` plus what both branches add."""
        x = x + self.attn(self.norm1(x))
        y = self.norm2(x)
        return x + (self.moe(y, task, balance) if self.routed else self.mlp(y))


class MoeVit(nn.Module):
    """Images (B, channels, height, width) and a task to (B, tokens, outputs of the task).

    The class token, where there is one, is the last; without heads the result is the residual
    stream (B, tokens, dim).
    """

    def __init__(self, config: MoeVitConfig) -> None:
        super().__init__()
        self.config = config
        self.patch_embed = nn.ModuleDict(
            {"proj": nn.Conv2d(config.channels, config.dim, config.patch, stride=config.patch)}
        )
        self.pos_embed = nn.Parameter(torch.zeros(1, config.tokens, config.dim))
        self.blocks = nn.ModuleList(MoeBlock(config, block) for block in range(config.depth))
        if config.headed:
            self.norm = nn.LayerNorm(config.dim, eps=NORM_EPS)
            self.heads = nn.ModuleList(nn.Linear(config.dim, n) for n in config.outputs)

    def embed(self, images: Tensor) -> Tensor:
        """Return the residual stream's start, (B, tokens, dim)."""
        patches = self.patch_embed["proj"](images).flatten(2).transpose(1, 2)
        extra = self.config.tokens - self.config.patches
        return functional.pad(patches, (0, 0, 0, extra)) + self.pos_embed

    def finish(self, x: Tensor, task: int) -> Tensor:
        """Return the result of a task from the last residual stream."""
        return self.heads[task](self.norm(x)) if self.config.headed else x

    def forward(self, images: Tensor, task: int) -> Tensor:
        """Return the result of one task; without noise."""
        x = self.embed(images)
        for block in self.blocks:
            x = block(x, task, None)
        return self.finish(x, task)

    def all_tasks(self, images: Tensor, balance: Balance) -> tuple[list[Tensor], list[Tensor]]:
        """Return the result of every task with noisy gates, and the streams behind the blocks.

        Up to the first gate the tasks have one stream, computed once.
        """
        stream = self.embed(images)
        streams, shared = [], 0
        while shared < self.config.depth and not self.config.has_experts(shared):
            stream = self.blocks[shared](stream, 0, None)
            streams.append(stream)
            shared += 1
        results = []
        for task in range(self.config.tasks):
            x = stream
            for block in list(self.blocks)[shared:]:
                x = block(x, task, balance)
                streams.append(x)
            results.append(self.finish(x, task))
        return results, streams


def initialise(model: MoeVit, generator: Generator) -> None:
    """Draw fresh weights: Xavier inside the blocks, truncated normal of deviation 0.02 outside.

    Positions begin as `waves`, which lets attention look at neighbours from the start.
    """
    for name, parameter in model.named_parameters():
        if ".norm" in name or name.startswith("norm"):
            nn.init.constant_(parameter, float(name.endswith("weight")))
        elif name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name == "pos_embed":
            parameter.detach()[0, : model.config.patches] = waves(model.config)
        elif ".moe.fc" in name:
            for expert in parameter.detach():
                nn.init.xavier_uniform_(expert, generator=generator)
        elif name.startswith("blocks"):
            nn.init.xavier_uniform_(parameter, generator=generator)
        else:
            nn.init.trunc_normal_(parameter, std=0.02, generator=generator)


def waves(config: MoeVitConfig) -> Tensor:
    """Return sines and cosines of each patch's row and column, (patches, dim).

    Vaswani et al. 2017, section 3.5, half of the features for each direction; wavelengths from two
    patches to 1.5 times the image's longer side; at half amplitude.
    """
    down, right = config.height // config.patch, config.width // config.patch
    quarter = config.dim // 4
    steps = torch.linspace(0, 1, max(quarter, 1))
    rate = torch.pi * (0.75 * max(down, right)) ** -steps
    rows = torch.arange(down).repeat_interleave(right)[:, None] * rate
    columns = torch.arange(right).repeat(down)[:, None] * rate
    parts = [rows.sin(), rows.cos(), columns.sin(), columns.cos()]
    out = torch.zeros(config.patches, config.dim)
    out[:, : 4 * quarter] = torch.cat(parts, dim=1)
    return out / 2


def build_moe_vit(config: MoeVitConfig, weights: Mapping[str, NDArray[np.float32]]) -> MoeVit:
    """Return the network in evaluation mode holding `weights`, named as in `config`."""
    model = MoeVit(config)
    model.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
    return model.eval()


@torch.no_grad()
def predict_task(
    model: MoeVit, images: NDArray[np.float32], task: int, batch: int = 50
) -> NDArray[np.float32]:
    """Return the results (N, tokens, outputs) of one task."""
    parts = torch.from_numpy(np.array(images)).split(batch)
    return torch.cat([model(part, task) for part in parts]).numpy()
