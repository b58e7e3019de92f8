"""The gate before each unit: a queue of commands and the wait for what they depend on."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.data import View
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.models.commands import COUNT_BITS, FIELDS, UNITS, Fields, Unit, layout


def satisfied(m: Module, command: View, counts: list[Signal], name: str) -> Signal:
    """Return a signal that says whether every count has reached the command's wait."""
    late = []
    for unit, count in zip(UNITS, counts, strict=True):
        ahead = Signal(COUNT_BITS, name=f"{name}_ahead_{unit.name.lower()}")
        m.d.comb += ahead.eq(count - command[f"wait_{unit.name.lower()}"])
        late.append(ahead[-1])
    out = Signal(name=f"{name}_satisfied")
    m.d.comb += out.eq(~Cat(*late).any())
    return out


class Issue(wiring.Component):
    """Queue commands and offer each when all its waits are over, in order.

    A command written in cycle w is offered from cycle w + 2 on at the earliest, and a cycle after
    the one before was accepted.

    Parameters
    ----------
    unit : Unit
    depth : int
        Commands that the queue holds.
    fields : Fields
        The machine's table of commands.

    Members
    -------
    queue : ``In(stream)`` of 512-bit commands.
    command : ``Out(stream)`` of the unit's command layout.
    counts : ``In``, completed commands of all units, side by side.
    waiting : ``Out(1)``, a command is queued but not yet offered.
    """

    def __init__(self, unit: Unit, *, depth: int, fields: Fields = FIELDS) -> None:
        self.unit, self.depth, self.fields = unit, depth, fields
        super().__init__(
            {
                "queue": In(stream.Signature(512)),
                "command": Out(stream.Signature(command_layout(unit, fields))),
                "counts": In(COUNT_BITS * len(UNITS)),
                "waiting": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        used = max(bit + field.width for field, bit in layout(self.unit, self.fields))
        m.submodules.fifo = fifo = SyncFIFO(width=used, depth=self.depth)
        m.d.comb += [
            fifo.w_data.eq(self.queue.payload),
            fifo.w_en.eq(self.queue.valid),
            self.queue.ready.eq(fifo.w_rdy),
        ]
        counts = []
        for i, unit in enumerate(UNITS):
            count = Signal(COUNT_BITS, name=f"count_{unit.name.lower()}")
            m.d.comb += count.eq(self.counts.word_select(i, COUNT_BITS))
            counts.append(count)
        head = Signal(command_layout(self.unit, self.fields))
        m.d.comb += head.as_value().eq(fifo.r_data)
        ok = satisfied(m, head, counts, "head")

        m.d.comb += self.waiting.eq(fifo.r_rdy & ~ok)
        with m.If(self.command.ready):
            m.d.sync += self.command.valid.eq(0)
        with m.If(fifo.r_rdy & ok & (self.command.ready | ~self.command.valid)):
            m.d.comb += fifo.r_en.eq(1)
            m.d.sync += [self.command.valid.eq(1), self.command.payload.eq(head)]
        return m
