"""Made-up weights of convolutional networks, at the scale at which training begins."""

from math import prod, sqrt

import numpy as np

from moesaic.models.conv_config import ConvConfig
from moesaic.models.weights_io import Weights


def seeded_conv_weights(config: ConvConfig, seed: int) -> Weights:
    """Draw weights by the names of the torch module: normal, for ReLU (He et al. 2015).

    BatchNorm's gains are 1 and its offsets 0, with running statistics of an identity.
    """
    rng = np.random.default_rng(seed)
    out: Weights = {}
    for name, shape in config.parameter_shapes.items():
        if len(shape) == 1:
            ones = name.endswith((".running_var", "norm.weight"))
            out[name] = np.full(shape, float(ones), dtype=np.float32)
            continue
        gain = 2.0 if len(shape) == 4 else 1.0
        deviation = sqrt(gain / prod(shape[1:]))
        out[name] = rng.normal(0, deviation, shape).astype(np.float32)
    return out
