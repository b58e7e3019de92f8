"""Packing of rows into the array's lines: dense, or the N of M largest with their places."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.nm_select import NMSelect
from moesaic.hw.weight_path import INDEX_MEMORY_BITS
from moesaic.models.accel import NM
from moesaic.models.float_format import FloatFormat
from moesaic.models.float_timing import SELECT
from moesaic.models.pipeline import log2
from moesaic.models.training.timing import PACK


class Pack(wiring.Component):
    """Fill words with what ``models.float_select.select_rows`` keeps of a row, beat by beat.

    One beat a cycle, no back-pressure; a word comes `LATENCY` cycles after the beat that fills it
    and stays for a cycle, what is kept of a beat comes `KEPT` cycles after the beat. Gaps may be
    anywhere. A row's beats fill whole words, with beats of +0 at its end, and the mode
    changes between rows only.

    Parameters
    ----------
    fmt : FloatFormat
        Of the operands.
    lanes, word : int
        Values of a beat and of a word: powers of two, `word` at least `lanes`.
    modes : tuple of NM
        Their M is at most `lanes`.

    Members
    -------
    valid : ``In(1)``, there is a beat.
    mode : ``In(range(1 + len(modes)))``, at least one bit: 0 for dense, else 1 + place in `modes`.
    values : ``In(ArrayLayout(fmt.bits, lanes))``
    line_valid : ``Out(1)``
    line : ``Out(ArrayLayout(fmt.bits, word))``
    places : ``Out(ArrayLayout(4, word))``, of the word's values in their groups; 0 where dense.
    kept_valid : ``Out(1)``
    kept : ``Out(ArrayLayout(fmt.bits, lanes))``, the beat with +0 for what is not kept.
    """

    LATENCY = PACK

    def __init__(self, *, fmt: FloatFormat, lanes: int, word: int, modes: tuple[NM, ...]) -> None:
        self.fmt, self.lanes, self.word, self.modes = fmt, lanes, word, modes
        super().__init__(
            {
                "valid": In(1),
                "mode": In(max(1, len(modes).bit_length())),
                "values": In(ArrayLayout(fmt.bits, lanes)),
                "line_valid": Out(1),
                "line": Out(ArrayLayout(fmt.bits, word)),
                "places": Out(ArrayLayout(INDEX_MEMORY_BITS, word)),
                "kept_valid": Out(1),
                "kept": Out(ArrayLayout(fmt.bits, lanes)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        lanes, bits = self.lanes, self.fmt.bits
        counts = [lanes, *(lanes * nm.n // nm.m for nm in self.modes)]  # a beat's, by mode
        unit = min(counts)

        selects = self._selects(m)
        values = delay(m, self.values.as_value(), SELECT, "value")
        valid = delay(m, self.valid, SELECT, "valid")
        mode = delay(m, self.mode, SELECT, "mode")
        numbers = [values.word_select(lane, bits) for lane in range(lanes)]

        # What is kept, again and again over the lanes, and which parts of the word take it.
        spread = [Signal(bits + INDEX_MEMORY_BITS, name=f"spread{lane}") for lane in range(lanes)]
        parts = self.word // unit
        position = Signal(range(parts))  # where the next beat goes, in units
        enable = Signal(parts)
        fills = Signal()
        with m.Switch(mode):
            for number, count in enumerate(counts):
                with m.Case(number):
                    compact, kept = self._of_mode(number, numbers, selects)
                    size_log2 = log2(count // unit)
                    for lane in range(lanes):
                        m.d.sync += [
                            spread[lane].eq(compact[lane % count]),
                            self.kept[lane].eq(Mux(kept[lane], numbers[lane], 0)),
                        ]
                    here = position[size_log2:]
                    for part in range(parts):
                        m.d.sync += enable[part].eq(valid & (here == part >> size_log2))
                    m.d.sync += fills.eq(valid & (here == (parts - 1) >> size_log2))
                    with m.If(valid):
                        m.d.sync += position.eq(position + (1 << size_log2))
        m.d.sync += [self.kept_valid.eq(valid), self.line_valid.eq(fills)]

        for number in range(self.word):
            with m.If(enable[number // unit]):
                m.d.sync += Cat(self.line[number], self.places[number]).eq(spread[number % lanes])
        return m

    def _selects(self, m: Module) -> list[NMSelect]:
        """Place a selection for each of the smallest groups; the first ones take larger ones."""
        smallest = min((nm.m for nm in self.modes), default=self.lanes + 1)
        selects = []
        for i in range(self.lanes // smallest):
            modes = [nm for nm in self.modes if i < self.lanes // nm.m]
            m.submodules[f"select{i}"] = select = NMSelect(self.fmt, modes)
            with m.Switch(self.mode):
                for number, nm in enumerate(self.modes, start=1):
                    if nm in modes:
                        with m.Case(number):
                            group = (self.values[i * nm.m + slot] for slot in range(nm.m))
                            m.d.comb += [
                                select.mode.eq(modes.index(nm)),
                                select.group.as_value().eq(Cat(*group)),
                            ]
            selects.append(select)
        return selects

    def _of_mode(
        self, number: int, numbers: list[Value], selects: list[NMSelect]
    ) -> tuple[list[Value], list[Value]]:
        """Return the mode's kept values with their places, and for each lane whether it is kept."""
        if number == 0:
            return numbers, [Const(1)] * self.lanes
        nm = self.modes[number - 1]
        groups = selects[: self.lanes // nm.m]
        compact = [Cat(group.values[n], group.places[n]) for group in groups for n in range(nm.n)]
        return compact, [group.kept[slot] for group in groups for slot in range(nm.m)]
