"""Burst walk: the memory side of a copy, one AXI burst after another."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.axi import ADDRESS_BITS, burst_limit
from moesaic.models.accel import AccelSpec


class BurstWalk(wiring.Component):
    """Cut the pieces of a strided copy into bursts.

    A burst ends where its piece ends and at every multiple of its longest length in memory, so it
    never crosses 4 KiB. Bursts never join two pieces.

    The first burst is there in the cycle after ``start``, the next in the cycle after each
    ``step``. ``start`` is allowed while idle and together with the ``step`` of the last burst.

    Parameters
    ----------
    spec : AccelSpec
        Gives `bus_bytes` and `burst_beats`.

    Members
    -------
    start : ``In(1)``
        Begin a copy with the four fields below, as in commands.
    start_address, rows, row_beats, row_pitch : ``In(40)``, ``In(16)``, ``In(16)``, ``In(32)``
    step : ``In(1)``
        The present burst is taken.
    active : ``Out(1)``
        There is a burst.
    address : ``Out(40)``
    beats : ``Out(9)``
        Beats of the burst, 1 to 256.
    last : ``Out(1)``
        This is the last burst of the copy.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "start": In(1),
                "start_address": In(ADDRESS_BITS),
                "rows": In(16),
                "row_beats": In(16),
                "row_pitch": In(32),
                "step": In(1),
                "active": Out(1),
                "address": Out(ADDRESS_BITS),
                "beats": Out(9),
                "last": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte_bits = self.spec.bus_bytes.bit_length() - 1
        limit = burst_limit(self.spec.bus_bytes, self.spec.burst_beats)
        limit_log2 = limit.bit_length() - 1
        place_bits = ADDRESS_BITS - byte_bits

        # Places in memory count bus beats.
        place = Signal(place_bits)
        row_place = Signal(place_bits)
        pitch = Signal(32 - byte_bits)
        left = Signal(16)
        row_beats = Signal(16)
        rows_left = Signal(16)

        room = limit - place[:limit_log2]
        row_ends = left <= room
        next_row = Signal(place_bits)
        m.d.comb += [
            self.address.eq(place << byte_bits),
            self.beats.eq(Mux(row_ends, left, room)),
            self.last.eq(row_ends & (rows_left == 1)),
            next_row.eq(row_place + pitch),
        ]

        with m.If(self.step):
            with m.If(row_ends):
                m.d.sync += [
                    place.eq(next_row),
                    row_place.eq(next_row),
                    left.eq(row_beats),
                    rows_left.eq(rows_left - 1),
                ]
            with m.Else():
                m.d.sync += [place.eq(place + room), left.eq(left - room)]
            with m.If(self.last):
                m.d.sync += self.active.eq(0)
        with m.If(self.start):
            m.d.sync += [
                self.active.eq(1),
                place.eq(self.start_address[byte_bits:]),
                row_place.eq(self.start_address[byte_bits:]),
                pitch.eq(self.row_pitch[byte_bits:]),
                left.eq(self.row_beats),
                row_beats.eq(self.row_beats),
                rows_left.eq(self.rows),
            ]
        return m
