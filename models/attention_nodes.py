"""Integer nodes of attention up to its probabilities."""

from dataclasses import dataclass
from math import e, log2

from moesaic.models.graph import SCORE_FRACTION_BITS, Node, Scores, Softmax
from moesaic.models.integer_weights import ratio
from moesaic.models.network import Attention


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """Tokens, heads, and channels of one head."""

    tokens: int
    heads: int
    head_channels: int


def softmax_nodes(
    layer: Attention, size: Size, scales: dict[str, float], *, q: str, k: str, data_bits: int
) -> list[Node]:
    """Return Scores of the nodes `q` and `k` and the Softmax that reads them.

    Scores are in units of log2, so their multiplier has log2(e) in it; the softmax's has the scale
    of the values over that of the result, both from `scales` of narrow layers.
    """
    unit = 2.0**-SCORE_FRACTION_BITS
    to_scores = scales[layer.q] * scales[layer.k] * layer.scale * log2(e) / unit
    multiplier, shift = ratio(to_scores, layer.name)
    scores = Scores(
        name=f"{layer.name}.scores",
        tokens=size.tokens,
        channels=size.tokens,
        scale=unit,
        q=q,
        k=k,
        heads=size.heads,
        head_channels=size.head_channels,
        multiplier=multiplier,
        shift=shift,
    )
    multiplier, shift = ratio(scales[layer.v] / scales[layer.name], layer.name)
    softmax = Softmax(
        name=f"{layer.name}.softmax",
        tokens=size.tokens,
        channels=size.tokens,
        scale=2.0 ** (1 - data_bits),
        x=scores.name,
        heads=size.heads,
        multiplier=multiplier,
        shift=shift,
    )
    return [scores, softmax]
