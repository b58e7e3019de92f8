"""AXI4 master ports: the wires of the read and of the write channels.

Members carry the conventional names, so that a port ``m_axi_gmem0`` comes out in Verilog as
``m_axi_gmem0_araddr`` and so on. Bursts are INCR with beats of the full bus width and ID 0.
"""

from amaranth.hdl import Const, Module
from amaranth.lib.wiring import In, Out, Signature

ADDRESS_BITS = 40
BOUNDARY_BYTES = 4096  # no burst may cross such a line (AXI4, A3.4.1)
BURST_INCR = 0b01
RESP_OKAY = 0b00


class AXIRead(Signature):
    """The AR and R channels as their master sees them.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    """

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes
        super().__init__(
            {
                **_address_members("ar"),
                "rid": In(1),
                "rdata": In(8 * bus_bytes),
                "rresp": In(2),
                "rlast": In(1),
                "rvalid": In(1),
                "rready": Out(1),
            }
        )


class AXIWrite(Signature):
    """The AW, W and B channels as their master sees them.

    Parameters
    ----------
    bus_bytes : int
        Bytes of a beat.
    """

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes
        super().__init__(
            {
                **_address_members("aw"),
                "wdata": Out(8 * bus_bytes),
                "wstrb": Out(bus_bytes),
                "wlast": Out(1),
                "wvalid": Out(1),
                "wready": In(1),
                "bid": In(1),
                "bresp": In(2),
                "bvalid": In(1),
                "bready": Out(1),
            }
        )


def burst_limit(bus_bytes: int, burst_beats: int) -> int:
    """Return the longest burst in beats: `burst_beats`, or what 4 KiB hold."""
    return min(burst_beats, BOUNDARY_BYTES // bus_bytes)


def drive_constants(m: Module, port: object, channel: str) -> None:
    """Drive what never changes on an address channel, ``"ar"`` or ``"aw"``."""
    size_log2 = port.signature.bus_bytes.bit_length() - 1  # type: ignore[attr-defined]
    m.d.comb += [
        getattr(port, f"{channel}id").eq(0),
        getattr(port, f"{channel}size").eq(Const(size_log2, 3)),
        getattr(port, f"{channel}burst").eq(BURST_INCR),
    ]


def _address_members(channel: str) -> dict[str, object]:
    return {
        f"{channel}id": Out(1),
        f"{channel}addr": Out(ADDRESS_BITS),
        f"{channel}len": Out(8),
        f"{channel}size": Out(3),
        f"{channel}burst": Out(2),
        f"{channel}valid": Out(1),
        f"{channel}ready": In(1),
    }
