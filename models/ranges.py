"""Ranges of a float network's values on calibration images, and where to clip them."""

from dataclasses import dataclass
from math import gcd

import numpy as np

from moesaic.models.errors import InputError
from moesaic.models.float_run import gelu, run_float
from moesaic.models.network import Attention, Experts, Floats, Gate, Network
from moesaic.models.network_shapes import Shape

METHODS = ("mse", "percentile")
SAMPLE = 1 << 15  # values kept of each layer
CHUNK_VALUES = 1 << 24  # values of all layers held at once
PERCENTILE = 99.97
FRACTIONS = np.linspace(0.3, 1.0, 36)
MARGIN = 1.25  # of 16-bit values, which have bits to spare, above the largest of calibration
SMALLEST = 1e-30


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Smallest and largest value of a layer, and an even sample of its values."""

    low: float
    high: float
    sample: Floats

    @property
    def magnitude(self) -> float:
        """Largest magnitude."""
        return max(self.high, -self.low)


def nonzero(magnitude: float) -> float:
    """Return `magnitude`, or 1 for that of a layer that is always zero."""
    return magnitude if magnitude > SMALLEST else 1.0


def scores_of(attention: Attention) -> str:
    """Return the name under which `measure` keeps an attention's scaled scores."""
    return f"{attention.name}.scores"


def logits_of(gate: Gate) -> str:
    """Return the name under which `measure` keeps a gate's logits."""
    return f"{gate.name}.logits"


def hidden_of(experts: Experts, expert: int) -> str:
    """Return the name of an expert's hidden values, after GELU."""
    return f"{experts.name}.{expert}.hidden"


def inner_of(experts: Experts, expert: int) -> str:
    """Return the name of an expert's hidden values before GELU."""
    return f"{hidden_of(experts, expert)}.inner"


def measure(network: Network, shapes: dict[str, Shape], images: Floats) -> dict[str, Range]:
    """Run the calibration images and return the range of each layer and of what is inside some.

    That is attention's scores, a gate's logits, and each expert's hidden values before and after
    GELU, of its own tokens (of all, where it has none).
    """
    values = sum(tokens * channels for tokens, channels in shapes.values())
    chunk = max(1, min(len(images), CHUNK_VALUES // values))
    parts: dict[str, list[Range]] = {}
    for first in range(0, len(images), chunk):
        tensors = run_float(network, images[first : first + chunk])
        for layer in network.layers:
            if isinstance(layer, Attention):
                tensors[scores_of(layer)] = _scores(layer, tensors)
            elif isinstance(layer, Gate):
                tensors[logits_of(layer)] = tensors[layer.x] @ layer.weight
            elif isinstance(layer, Experts):
                tensors |= _hidden(layer, tensors)
        for name, tensor in tensors.items():
            keep = SAMPLE * len(tensor) // len(images)
            parts.setdefault(name, []).append(_range(name, tensor, max(keep, 64)))
    return {name: _join(ranges) for name, ranges in parts.items()}


def _scores(layer: Attention, tensors: dict[str, Floats]) -> Floats:
    """Return ``q @ k.T * scale`` of all heads, (images, heads * tokens, tokens)."""
    q, k = (_heads(tensors[name], layer.heads) for name in (layer.q, layer.k))
    scores = np.matmul(q, k.swapaxes(-1, -2)) * np.float32(layer.scale)
    return scores.reshape(len(scores), -1, scores.shape[-1])


def _hidden(layer: Experts, tensors: dict[str, Floats]) -> dict[str, Floats]:
    """Return each expert's hidden values, (1, tokens, hidden), by name."""
    found = {}
    for expert in range(len(layer.bias)):
        here = tensors[layer.gate][..., expert] > 0
        x = tensors[layer.x][here if here.any() else np.ones_like(here)]
        inner = (x @ layer.hidden_weight[expert] + layer.hidden_bias[expert])[np.newaxis]
        found[inner_of(layer, expert)] = inner
        found[hidden_of(layer, expert)] = gelu(inner)
    return found


def _heads(x: Floats, heads: int) -> Floats:
    return x.reshape(*x.shape[:2], heads, -1).swapaxes(1, 2)


def _range(name: str, tensor: Floats, keep: int) -> Range:
    """Return the range of one tensor.

    The sample's stride has no factor of the values per image, so it visits all places in turn.
    """
    if not np.isfinite(tensor).all():
        raise InputError(f"{name}: calibration makes NaN or infinity")
    stride = max(1, tensor.size // keep)
    while gcd(stride, tensor[0].size) > 1:
        stride += 1
    sample = tensor.ravel()[::stride].astype(np.float32)
    return Range(low=float(tensor.min()), high=float(tensor.max()), sample=sample)


def _join(ranges: list[Range]) -> Range:
    """Return the range of several parts."""
    return Range(
        low=min(r.low for r in ranges),
        high=max(r.high for r in ranges),
        sample=np.concatenate([r.sample for r in ranges]),
    )


def clip_point(values: Range, bits: int, method: str) -> float:
    """Return the magnitude that the largest integer of a narrow tensor stands for.

    16 bits take all values and a margin. 8 bits clip: ``mse`` minimises the squared error of the
    sample, ``percentile`` takes a fixed percentile of magnitudes.
    """
    largest = nonzero(values.magnitude)
    if bits > 8:
        return MARGIN * largest
    if method == "percentile":
        clip = float(np.percentile(np.abs(values.sample), PERCENTILE))
        return clip if clip > SMALLEST else largest
    errors = [_squared_error(values.sample, fraction * largest, bits) for fraction in FRACTIONS]
    return float(FRACTIONS[int(np.argmin(errors))]) * largest


def _squared_error(x: Floats, clip: float, bits: int) -> float:
    """Return the mean squared error of quantising `x` symmetrically at `clip`."""
    largest = (1 << (bits - 1)) - 1
    step = np.float32(clip / largest)
    error = np.clip(np.rint(x / step), -largest - 1, largest) * step - x
    return float(np.mean(np.square(error)))
