"""The N largest of every M numbers, one group a cycle."""

from collections.abc import Sequence

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.models.accel import NM
from moesaic.models.float_format import FloatFormat
from moesaic.models.float_timing import SELECT
from moesaic.models.pipeline import log2


class NMSelect(wiring.Component):
    """Return ``models.float_select.select`` of a group: values and places, places ascending.

    One group a cycle, `LATENCY` cycles, no back-pressure. Each number is compared with each other
    one; a number is kept if fewer than N are larger.

    Parameters
    ----------
    fmt : FloatFormat
        Of the numbers.
    modes : sequence of NM
        Those among which `mode` chooses, by its place in the sequence.

    Members
    -------
    mode : ``In(range(len(modes)))``, at least one bit.
    group : ``In(ArrayLayout(fmt.bits, M))`` of the largest M; in a mode of a smaller one the
        numbers beyond do not count.
    values : ``Out(ArrayLayout(fmt.bits, N))`` of the largest N; +0 beyond the mode's own.
    places : ``Out(ArrayLayout(log2(M), N))``; 0 beyond the mode's own.
    kept : ``Out(M)``, one bit for each number of the group; the mode's own count.
    """

    LATENCY = SELECT

    def __init__(self, fmt: FloatFormat, modes: Sequence[NM]) -> None:
        self.fmt = fmt
        self.modes = tuple(modes)
        self.m = max(mode.m for mode in modes)
        self.n = max(mode.n for mode in modes)
        super().__init__(
            {
                "mode": In(max(1, (len(modes) - 1).bit_length())),
                "group": In(ArrayLayout(fmt.bits, self.m)),
                "values": Out(ArrayLayout(fmt.bits, self.n)),
                "places": Out(ArrayLayout(log2(self.m), self.n)),
                "kept": Out(self.m),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        numbers = [self.group[i] for i in range(self.m)]

        # Cycle 1: compare. Numbers that do not count lose against all, equal ones as they come.
        magnitudes = [
            Mux(self._of_mode(self.mode, lambda mode, i=i: int(i < mode.m)), number[:-1], 0)
            for i, number in enumerate(numbers)
        ]
        smaller = {}  # for i < j: whether i is smaller than j
        for j in range(self.m):
            for i in range(j):
                smaller[i, j] = Signal(name=f"smaller_{i}_{j}")
                m.d.sync += smaller[i, j].eq(magnitudes[i] < magnitudes[j])
        mode = delay(m, self.mode, 1, "mode")

        # Cycle 2: count.
        keep = Signal(self.m)
        for i in range(self.m):
            before = [~smaller[j, i] for j in range(i)]
            behind = [smaller[i, j] for j in range(i + 1, self.m)]
            larger = _count([*before, *behind])
            m.d.sync += keep[i].eq(larger < self._of_mode(mode, lambda mode: mode.n))

        # Cycle 3: the place of each kept number in the result, as one bit of N.
        target = [Signal(self.n, name=f"target{i}") for i in range(self.m)]
        for i in range(self.m):
            before = _count([keep[j] for j in range(i)])
            for n in range(self.n):
                m.d.sync += target[i][n].eq(keep[i] & (before == n))

        # Cycle 4: pick.
        m.d.comb += self.kept.eq(delay(m, keep, 2, "kept"))
        late = [delay(m, number, 3, f"number{i}") for i, number in enumerate(numbers)]
        for n in range(self.n):
            chosen, places = Const(0, self.fmt.bits), Const(0, log2(self.m))
            for i in range(self.m):
                picked = target[i][n]
                chosen = chosen | (late[i] & picked.replicate(self.fmt.bits))
                places = places | (Const(i, log2(self.m)) & picked.replicate(log2(self.m)))
            m.d.sync += [self.values[n].eq(chosen), self.places[n].eq(places)]
        return m

    def _of_mode(self, mode: Value, what: object) -> Value:
        """Return a constant that depends on the mode."""
        values = [what(nm) for nm in self.modes]  # type: ignore[operator]
        width = max(values).bit_length()
        result: Value = Const(values[0], width)
        for i, value in enumerate(values[1:], start=1):
            if value != values[0]:
                result = Mux(mode == i, Const(value, width), result)
        return result


def _count(bits: list[Value]) -> Value:
    """Return how many of the bits are set."""
    if not bits:
        return Const(0, 1)
    values = bits
    while len(values) > 1:
        pairs = [Cat(a + b) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = pairs + ([values[-1]] if len(values) % 2 else [])
    return values[0]
