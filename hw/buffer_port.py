"""Ports of the DMA towards the scratchpads: one bus beat per cycle, in and out."""

from amaranth.lib.wiring import Out, Signature

BUFFER_BITS = 4
LINE_BITS = 24


def buffer_write(bus_bytes: int) -> Signature:
    """Return the signature of a write port: a beat goes to ``line`` of ``buffer`` when valid."""
    return Signature(
        {
            "valid": Out(1),
            "buffer": Out(BUFFER_BITS),
            "line": Out(LINE_BITS),
            "data": Out(8 * bus_bytes),
        }
    )


def buffer_read() -> Signature:
    """Return the signature of a read port; the data comes back on a signal of its own."""
    return Signature({"en": Out(1), "buffer": Out(BUFFER_BITS), "line": Out(LINE_BITS)})
