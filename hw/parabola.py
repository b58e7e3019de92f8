"""Piecewise parabola: a table and two multipliers."""

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.float_tables import INDEX_BITS, Parabolas
from moesaic.models.float_timing import PARABOLA


class Parabola(wiring.Component):
    """Return ``table.value(index, offset)``.

    One value a cycle, `LATENCY` cycles, no back-pressure. Two DSP48E2 and one block RAM of 36 kbit.

    Parameters
    ----------
    table : Parabolas

    Members
    -------
    index : ``In(8)``
    offset : ``In(table.offset_bits)``
    value : ``Out(signed)``, as wide as the table's levels.
    """

    LATENCY = PARABOLA

    def __init__(self, table: Parabolas) -> None:
        self.table = table
        super().__init__(
            {
                "index": In(INDEX_BITS),
                "offset": In(table.offset_bits),
                "value": Out(signed(table.widths()[0])),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        table = self.table
        widths = table.widths()
        columns = (table.level, table.slope, table.curve)
        m.submodules.rom = rom = Memory(
            shape=sum(widths), depth=1 << INDEX_BITS, init=_words(columns, widths)
        )
        port = rom.read_port()
        level, slope, curve = (Signal(signed(width)) for width in widths)
        m.d.comb += [port.addr.eq(self.index), Cat(level, slope, curve).eq(port.data)]

        offset = delay(m, self.offset, 1, "offset")
        bend = Signal(signed(widths[2] + table.offset_bits))
        inner = Signal(signed(widths[1] + 1))
        rise = Signal(signed(len(inner) + table.offset_bits))
        m.d.sync += [
            bend.eq(curve * offset),
            inner.eq(delay(m, slope, 1, "slope") + (bend >> table.offset_bits)),
            rise.eq(inner * delay(m, offset, 2, "offset_late")),
            self.value.eq(delay(m, level, 3, "level") + (rise >> table.offset_bits)),
        ]
        return m


def _words(columns: tuple[object, ...], widths: tuple[int, ...]) -> list[int]:
    """Pack each segment's coefficients, the first one lowest."""
    words = [0] * (1 << INDEX_BITS)
    low = 0
    for column, width in zip(columns, widths, strict=True):
        for i, value in enumerate(column.tolist()):  # type: ignore[attr-defined]
            words[i] |= (value & ((1 << width) - 1)) << low
        low += width
    return words
