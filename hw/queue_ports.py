"""Ports of the expert queues: look-ups of their lengths, and reads of their entries."""

from amaranth.lib.wiring import In, Out, Signature

from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.routing import GATE_SCORE_BITS

EXPERT_BITS = 6
PLACE_BITS = 14


def length_bits(spec: AccelSpec) -> int:
    """Return the bits of a queue's length."""
    return log2(spec.psum_depth) + 1


def queue_lengths(spec: AccelSpec) -> Signature:
    """Return a look-up, seen by who asks: the lengths of an expert's queues, banks side by side.

    Where a command names one `place`, the answer is that place + 1 in its bank, if a token is
    there, and 0 in the other. The answer is there in the same cycle.
    """
    return Signature(
        {
            "expert": Out(EXPERT_BITS),
            "place": Out(PLACE_BITS),
            "lengths": In(spec.tokens_per_beat * length_bits(spec)),
        }
    )


def queue_read(spec: AccelSpec) -> Signature:
    """Return a read, seen by who asks: token row and score at one place, banks side by side.

    The answer comes ``RAM_READ`` cycles later.
    """
    row_bits = log2(spec.psum_depth)
    return Signature(
        {
            "expert": Out(EXPERT_BITS),
            "place": Out(row_bits),
            "rows": In(spec.tokens_per_beat * row_bits),
            "scores": In(spec.tokens_per_beat * GATE_SCORE_BITS),
        }
    )
