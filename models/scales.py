"""The scales of an integer network: narrow ones per tensor, wide ones per residual stream."""

from dataclasses import dataclass

from moesaic.models.errors import InputError
from moesaic.models.fold import consumers_of, fused
from moesaic.models.network import (
    Add,
    Attention,
    Embed,
    Experts,
    Floats,
    Gate,
    Gelu,
    Linear,
    Network,
    Norm,
    Select,
)
from moesaic.models.network_shapes import Shape
from moesaic.models.ranges import (
    Range,
    clip_point,
    hidden_of,
    inner_of,
    logits_of,
    measure,
    nonzero,
    scores_of,
)

HEADROOM = 2.0  # largest wide value over the largest of calibration: one bit
GELU_LIMIT = 32.0  # GELU's input has five integer bits
SCORE_LIMIT = 88.0  # 2**7 in units of log2, where 16-bit scores end


@dataclass(frozen=True, slots=True, kw_only=True)
class Scales:
    """Value of one unit of each layer as a narrow and as a wide tensor."""

    narrow: dict[str, float]
    wide: dict[str, float]


def wide_layers(network: Network) -> set[str]:
    """Return the layers whose own node is wide: they begin or continue a residual stream.

    Embeddings and additions always are; norms and linear layers where a norm, a residual or a
    selection reads them, or where they are the result.
    """
    result = network.layers[-1].name
    inside = fused(network)
    wide = set()
    for name, readers in consumers_of(network).items():
        layer = network[name]
        wanted = name == result or any(
            isinstance(reader, Norm | Select)
            or (isinstance(reader, Add) and reader.residual == name)
            for reader in readers
        )
        free = isinstance(layer, Norm | Linear) and name not in inside
        if isinstance(layer, Embed | Add) or (free and wanted):
            wide.add(name)
    return wide


def streams(network: Network) -> dict[str, str]:
    """Return, for each layer, the one that its residual stream began with (itself if none)."""
    root = {layer.name: layer.name for layer in network.layers}
    for layer in network.layers:
        if isinstance(layer, Add):
            root[layer.name] = root[layer.residual]
    return root


def find_scales(
    network: Network,
    shapes: dict[str, Shape],
    images: Floats,
    *,
    data_bits: int,
    wide_bits: int,
    method: str,
) -> Scales:
    """Run calibration images and return all scales.

    InputError where GELU's input or attention's scores leave the range that integers have.
    """
    ranges = measure(network, shapes, images)
    _check_limits(network, ranges, wide_bits)
    narrow_top, wide_top = (float((1 << (bits - 1)) - 1) for bits in (data_bits, wide_bits))
    root = streams(network)
    largest: dict[str, float] = {}
    for name, first in root.items():
        largest[first] = max(largest.get(first, 0.0), ranges[name].magnitude)
    names = [layer.name for layer in network.layers]
    for layer in network.layers:
        if isinstance(layer, Experts):
            names += [hidden_of(layer, expert) for expert in range(len(layer.bias))]
    return Scales(
        narrow={name: clip_point(ranges[name], data_bits, method) / narrow_top for name in names},
        wide={name: HEADROOM * nonzero(largest[first]) / wide_top for name, first in root.items()},
    )


def _check_limits(network: Network, ranges: dict[str, Range], wide_bits: int) -> None:
    """Refuse networks that would saturate inside GELU or softmax."""
    for layer in network.layers:
        inner, scores = [], []
        match layer:
            case Gelu():
                inner = [layer.x]
            case Experts():
                inner = [inner_of(layer, expert) for expert in range(len(layer.bias))]
            case Attention() if wide_bits == 16:
                scores = [("attention scores", scores_of(layer))]
            case Gate() if wide_bits == 16:
                scores = [("gate logits", logits_of(layer))]
        for name in inner:
            high = ranges[name].high
            if high >= GELU_LIMIT:
                raise InputError(f"{name}: GELU's input must be below {GELU_LIMIT}, not {high:.4g}")
        for what, name in scores:
            largest = ranges[name].magnitude
            if largest >= SCORE_LIMIT:
                raise InputError(
                    f"{layer.name}: {what} must be below {SCORE_LIMIT}, not {largest:.4g}"
                )
