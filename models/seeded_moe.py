"""Made-up weights for networks with experts, whose routing is uneven.

Trained gates leave some experts without a token of an image, and which ones differs by image and
task (Edge-MoE, arXiv 2305.18691, keeps a list of the non-empty ones for this); hardware that skips
unused experts must be measured on such routing. So each gate prefers some experts (its
`popularity`) and the tokens decide about the rest.
"""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from moesaic.models.moe_config import MoeVitConfig
from moesaic.models.seeded_weights import (
    BIAS_STD,
    BRANCH_GAIN,
    EMBED_STD,
    GAIN_STD,
    SCORE_STD,
    truncated_normal,
)

LOGIT_STD = 1.2  # of a gate's logits over tokens, for each expert
POPULARITY_STD = (1.4, 0.7)  # of their means, over experts, in the first and in the last block
OFFSET_STD = 0.3  # of the norm's offset in front of gates: what all tokens have in common
EXPERT_GAIN = 1.4  # two scores that are not renormalised add up to about half

Draw = NDArray[np.float64]


def seeded_moe_weights(config: MoeVitConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return every parameter of `config` by its name, float32, the same for the same seed.

    Each parameter has its own generator, seeded by `seed` and its name. Deviations are those of
    :func:`moesaic.models.seeded_weights.seeded_weights`. A gate's logits, (tokens, experts), are
    ``LOGIT_STD * t + p``: t differs from token to token with deviation 1, p is one number for each
    expert of each gate, a quantile of the normal distribution, so that every gate is equally
    uneven. The norm's offset in front of the gate lets it through:
    ``weight[e] = LOGIT_STD * r[e] / sqrt(dim) + p[e] * offset / |offset|**2``.
    """
    weights: dict[str, NDArray[np.float32]] = {}
    for name, shape in config.parameter_shapes.items():
        rng = np.random.default_rng([seed, crc32(name.encode())])
        if ".gates." in name:
            block = name.partition(".moe.")[0]
            popularity = _popularity(rng, config, int(block.removeprefix("blocks.")))
            value = _gate(rng, shape, weights[f"{block}.norm2.bias"], popularity)
        else:
            value = _scaled(name, truncated_normal(rng, shape), config)
        weights[name] = value.astype(np.float32)
    return weights


def _popularity(rng: np.random.Generator, config: MoeVitConfig, block: int) -> Draw:
    """Return the mean logit of each expert, (experts,).

    Deviations fall with depth: tokens of an image grow alike there, which is uneven by itself.
    """
    first, last = POPULARITY_STD
    deviation = first + (last - first) * block / max(1, config.depth - 1)
    quantiles = ndtri((np.arange(config.experts) + 0.5) / config.experts)
    return np.asarray(deviation * rng.permutation(quantiles))


def _gate(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    offset: NDArray[np.float32],
    popularity: Draw,
) -> Draw:
    """Return a gate's weight (experts, dim)."""
    common = offset.astype(np.float64)
    rows = truncated_normal(rng, shape) * (LOGIT_STD * shape[1] ** -0.5)
    rows -= np.outer(rows @ common, common) / (common @ common)
    return np.asarray(rows + np.outer(popularity, common) / (common @ common))


def _scaled(name: str, draw: Draw, config: MoeVitConfig) -> Draw:
    """Return a draw of deviation 1 at the scale of the parameter `name`."""
    unit = config.dim**-0.5
    block, _, part = name.removeprefix("blocks.").partition(".")
    if "norm" in name and name.endswith("weight"):
        return 1 + GAIN_STD * draw
    if part == "norm2.bias" and config.has_experts(int(block)):
        return OFFSET_STD * draw
    if name.endswith("bias"):
        return BIAS_STD * draw
    if "qkv" in name:
        rows = np.repeat([SCORE_STD**0.5 * unit, SCORE_STD**0.5 * unit, unit], config.dim)
        return np.asarray(rows[:, None] * draw)
    if "attn.proj" in name:
        return BRANCH_GAIN * unit * draw
    if "mlp.fc2" in name:
        return BRANCH_GAIN * config.mlp**-0.5 * draw
    if "moe.fc2" in name:
        return EXPERT_GAIN * config.expert_hidden**-0.5 * draw
    if "fc1" in name or "heads" in name:
        return unit * draw
    if "patch_embed" in name:
        return (config.channels * config.patch**2) ** -0.5 * draw
    return EMBED_STD * draw
