"""Memory of row statistics between the two sweeps of the vector unit."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.models.accel import AccelSpec


class RowMemory(wiring.Component):
    """Write entries in the order of the rows, read them by row; data a cycle after `row`.

    Parameters
    ----------
    spec : AccelSpec
        One entry for each token that has row statistics.
    entry_bits : int

    Members
    -------
    start : ``In(1)``, write from row 0 on. `write` : ``In(1)``, `entry` : ``In``, the next row.
    row : ``In(16)``. `data` : ``Out``, entry of `row` of the cycle before.
    """

    def __init__(self, spec: AccelSpec, *, entry_bits: int) -> None:
        self.depth = spec.rowstat_rows * spec.tokens_per_beat
        self.entry_bits = entry_bits
        super().__init__(
            {
                "start": In(1),
                "write": In(1),
                "entry": In(entry_bits),
                "row": In(16),
                "data": Out(entry_bits),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(shape=self.entry_bits, depth=self.depth, init=[])
        write, read = memory.write_port(), memory.read_port()
        place = Signal(range(self.depth))
        with m.If(self.start):
            m.d.sync += place.eq(0)
        with m.Elif(self.write):
            m.d.sync += place.eq(place + 1)
        m.d.comb += [
            write.addr.eq(place),
            write.data.eq(self.entry),
            write.en.eq(self.write),
            read.addr.eq(self.row),
            self.data.eq(read.data),
        ]
        return m
