"""Ports of the vector unit towards the scratchpads."""

from amaranth.lib.wiring import Out, Signature

from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.routing import GATE_SCORE_BITS, MAX_EXPERTS

VECTOR_READ = Signature({"en": Out(1), "buffer": Out(1), "bank": Out(1), "word": Out(16)})
"""Read one bank's word of SCORE (`buffer` 0) or RESIDUAL (1)."""

NORM_READ = Signature({"en": Out(1), "word": Out(16)})
"""Read gains and offsets of all lanes."""

ROWSTAT_WRITE = Signature(
    {"valid": Out(1), "bank": Out(1), "row": Out(16), "multiplier": Out(16), "shift": Out(6)}
)
"""Write a token's row statistics."""

ROUTE_WRITE = Signature(
    {
        "valid": Out(1),
        "bank": Out(1),
        "row": Out(16),
        "expert": Out(log2(MAX_EXPERTS)),
        "score": Out(GATE_SCORE_BITS),
    }
)
"""Send a token, by its bank and row, to an expert."""


def vector_write(spec: AccelSpec) -> Signature:
    """Return the write port: slice `sub` of `lanes` values of one bank's word, in both widths."""
    return Signature(
        {
            "valid": Out(1),
            "buffer": Out(4),
            "bank": Out(1),
            "word": Out(16),
            "sub": Out(8),
            "narrow": Out(spec.lanes * spec.data_bits),
            "wide": Out(spec.lanes * 8 * spec.wide_bytes),
        }
    )
