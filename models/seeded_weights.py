"""Made-up weights at the scale of a trained network, for shapes whose weights cannot ship."""

from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from moesaic.models.vit_config import VitConfig

SCORE_STD = 2.0
BRANCH_GAIN = 0.7
TRUNCATED_STD = 0.8796256610342398  # of a standard normal cut at two deviations
GAIN_STD, BIAS_STD, EMBED_STD = 0.1, 0.02, 0.3


def truncated_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Draw a normal, values beyond two deviations anew, and scale it to deviation 1."""
    values = rng.standard_normal(shape)
    while (outside := np.abs(values) > 2).any():
        values[outside] = rng.standard_normal(int(outside.sum()))
    return values / TRUNCATED_STD


def _deviation(name: str, config: VitConfig) -> NDArray[np.float64] | float:
    """Return the deviation of a parameter, for its tensor or for each of its rows.

    Inputs of a layer behind a norm have variance 1, so rows of deviation 1/sqrt(inputs) keep it.
    Queries and keys are larger, which gives attention scores a deviation of about SCORE_STD; the
    outputs of both branches are smaller, which lets the residual stream grow slowly.
    """
    if name.endswith("bias"):
        return BIAS_STD
    if "qkv" in name:
        unit = config.dim**-0.5
        rows = np.repeat([SCORE_STD**0.5 * unit, SCORE_STD**0.5 * unit, unit], config.dim)
        return rows[:, None]
    if "attn.proj" in name:
        return BRANCH_GAIN * config.dim**-0.5
    if "fc1" in name:
        return config.dim**-0.5
    if "fc2" in name:
        return BRANCH_GAIN * config.mlp**-0.5
    if "patch_embed" in name:
        return (config.channels * config.patch**2) ** -0.5
    if "head" in name:
        return config.dim**-0.5
    return EMBED_STD


def seeded_weights(config: VitConfig, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return every parameter of `config` by its DeiT name, float32, the same for the same seed.

    Each parameter has its own generator, seeded by `seed` and its name, so that one does not change
    with the sizes of the others. The logits mean nothing; the activations have the scale of a
    trained network: attention is far from uniform and the residual stream grows slowly.
    """
    weights = {}
    for name, shape in config.parameter_shapes.items():
        rng = np.random.default_rng([seed, crc32(name.encode())])
        draw = truncated_normal(rng, shape)
        if "norm" in name and name.endswith("weight"):
            value = 1 + GAIN_STD * draw
        else:
            scale = _deviation(name, config)
            value = draw * (np.reshape(scale, (-1, 1)) if np.ndim(scale) else scale)
        weights[name] = value.astype(np.float32)
    return weights
