"""Operand distribution: from a scratchpad word to the operand groups that all columns share."""

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.column import operand_bits
from moesaic.hw.delay import delay
from moesaic.hw.element import operand_count
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.pipeline import RAM_READ, log2


def slot_source(spec: AccelSpec, nm: NM | None, group: int, slot: int) -> int | None:
    """Return which operand of the slice sits in `slot` of `group`, None where no row looks.

    A group serves ``group_rows`` rows. Dense: slot j holds the operand of the group's row j. N:M:
    the group's rows lie in one sparse group of M operands, and all M are there.
    """
    first_row = group * spec.group_rows
    if nm is None:
        return first_row + slot if slot < spec.group_rows else None
    return first_row // nm.n * nm.m + slot if slot < nm.m else None


class Distribute(wiring.Component):
    """Select the source, the slice of the word and the spread of the weight format.

    One beat a cycle; controls are due at issue (cycle 0), words at ``RAM_READ``, operands appear at
    ``operand_latency(spec)``.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    source : ``In(2)``, which of `words0`, `words1`, `words2`.
    offset : ``In``, first operand of the slice, in units of `rows` operands.
    mode : ``In(4)``, weight format.
    words0, words1, words2 : ``In``, words of the scratchpads; tokens side by side.
    operands : ``Out``, as in :class:`moesaic.hw.column.Column`.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        width = spec.tokens_per_beat * spec.act_word * spec.data_bits
        super().__init__(
            {
                "source": In(2),
                "offset": In(8),
                "mode": In(4),
                "words0": In(width),
                "words1": In(width),
                "words2": In(width),
                "operands": Out(operand_count(spec) * operand_bits(spec)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec, bits = self.spec, self.spec.data_bits
        source = delay(m, self.source, RAM_READ, "source")
        offset = delay(m, self.offset, RAM_READ + 1, "offset")
        mode = delay(m, self.mode, RAM_READ + 2, "mode")

        word = Signal.like(self.words0)
        m.d.sync += word.eq(
            Mux(source == 0, self.words0, Mux(source == 1, self.words1, self.words2))
        )

        operands_max = spec.rows * spec.expansion
        steps = spec.act_word // spec.rows
        slices = []
        for token in range(spec.tokens_per_beat):
            part = Signal(operands_max * bits, name=f"slice{token}")
            whole = word.word_select(token, spec.act_word * bits)
            with m.Switch(offset[: log2(steps)] if steps > 1 else offset[:1]):
                for step in range(steps):
                    with m.Case(step):
                        m.d.sync += part.eq(whole[step * spec.rows * bits :])
            slices.append(part)

        out: list[Value] = []
        for i in range(operand_count(spec)):
            operand = Signal(operand_bits(spec), name=f"operand{i}")
            group, slot = divmod(i, spec.group_slots)
            first, *second = (self._value(part, mode, group, slot) for part in slices)
            m.d.sync += operand.eq(Cat(first, *(value - first[-1] for value in second)))
            out.append(operand)
        m.d.comb += self.operands.eq(Cat(*out))
        return m

    def _value(self, part: Value, mode: Value, group: int, slot: int) -> Value:
        """Return the value that belongs in a slot; any, where no row looks."""
        spec = self.spec
        modes: dict[int, list[int]] = {}
        for number, nm in enumerate((None, *spec.sparsity)):
            place = slot_source(spec, nm, group, slot)
            if place is not None:
                modes.setdefault(place, []).append(number)
        value = part.word_select(next(iter(modes)), spec.data_bits)
        for place, numbers in list(modes.items())[1:]:
            here = Cat(*(mode == number for number in numbers)).any()
            value = Mux(here, part.word_select(place, spec.data_bits), value)
        return value.as_signed()
