"""Which word of packed weights each slice of a row belongs to."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.models.accel import AccelSpec
from moesaic.models.training.vector_fields import ADDRESS_BITS


class PackWalk(wiring.Component):
    """Count words: row r is column ``r % columns`` of a tile, its words lie `columns` apart.

    A word takes `weight_word` operands, those of ``weight_word * M / N / lanes`` slices.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    load : ``In(1)``, begin with word 0.
    mode : ``In(4)``, weight format; stable.
    step, last_beat : ``In(1)``, go on; the present slice is the last of its row.
    line : ``Out(24)``, of the present slice.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                "load": In(1),
                "mode": In(4),
                "step": In(1),
                "last_beat": In(1),
                "line": Out(ADDRESS_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        tile, along = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)
        column, beat = Signal(range(spec.columns)), Signal(16)
        last = Signal(16)
        with m.Switch(self.mode):
            for number, nm in enumerate((None, *spec.sparsity)):
                with m.Case(number):
                    m.d.comb += last.eq(spec.operands_per_word(nm) // spec.lanes - 1)
        m.d.comb += self.line.eq(tile + along + column)
        with m.If(self.step):
            m.d.sync += beat.eq(beat + 1)
            with m.If(beat == last):
                m.d.sync += [beat.eq(0), along.eq(along + spec.columns)]
            with m.If(self.last_beat):
                m.d.sync += [beat.eq(0), along.eq(0), column.eq(column + 1)]
                with m.If(column == spec.columns - 1):
                    m.d.sync += tile.eq(tile + along + spec.columns)
        with m.If(self.load):
            m.d.sync += [tile.eq(0), along.eq(0), column.eq(0), beat.eq(0)]
        return m
