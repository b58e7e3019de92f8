"""Control of the vector unit: take a command, sweep its rows, issue the reads."""

from amaranth.hdl import Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.command_layout import command_layout
from moesaic.hw.row_walk import RowWalk
from moesaic.hw.vector_ports import VECTOR_READ
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, Unit, VectorOp
from moesaic.models.pipeline import log2
from moesaic.models.routing import MAX_TOP
from moesaic.models.vector_timing import second_sweep_wait


class VectorSequence(wiring.Component):
    """Issue one beat a cycle, without bubbles inside a sweep.

    The first read leaves ``SETUP`` cycles after the command's handshake. A sweep after one that
    does not write begins right after it, but at least ``second_sweep_wait`` cycles after its first
    row's end. No sweep of ROUTE writes. Softmax of two or three passes sweeps twice before it
    writes, and of three passes it writes twice, in sweeps that follow each other.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    command : ``In(stream)`` of vector commands; ready when idle.
    done : ``In(1)``, the last write leaves.
    busy : ``Out(1)``
    config : ``Out``, the command being executed.
    start : ``Out(1)``, two cycles after the handshake: `config` has been stable for one.
    read : ``Out(VECTOR_READ)``. With it, in the same cycle:
    second, first, last : ``Out(1)``, a sweep that writes; first or last beat of a row.
    known : ``Out(1)``, a sweep whose rows' maxima are known from the one before.
    slice : ``Out``, slice of `lanes` values in the word.
    row : ``Out(16)``, rows before this one.
    present : ``Out(16)``, values of the row that are real, from this beat on.
    later, final, finish : ``Out(1)``, only with experts: a sweep after the first; the last beat of
        a sweep, and of ROUTE's last sweep.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        layout = command_layout(Unit.VECTOR)
        flags = ("later", "final", "finish") if spec.experts else ()
        super().__init__(
            {
                "command": In(stream.Signature(layout)),
                "done": In(1),
                "busy": Out(1),
                "config": Out(layout),
                "start": Out(1),
                "read": Out(VECTOR_READ),
                "second": Out(1),
                "known": Out(1),
                "first": Out(1),
                "last": Out(1),
                "slice": Out(max(1, log2(spec.wide_word // spec.lanes))),
                "row": Out(16),
                "present": Out(16),
                **{name: Out(1) for name in flags},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        config = self.config
        slices_log2 = log2(spec.wide_word // spec.lanes)

        m.submodules.walk = walk = RowWalk(spec)
        for name in ("token", "tokens", "beats", "base", "pitch", "position"):
            m.d.comb += getattr(walk, name).eq(config[name])
        m.d.comb += walk.start.eq(self.start)

        remaining = Signal(16)
        m.d.sync += [
            self.read.en.eq(walk.step),
            self.read.buffer.eq(config.source == Buffer.RESIDUAL),
            self.read.bank.eq(walk.bank),
            self.read.word.eq(walk.row_word + (walk.slice >> slices_log2)),
            self.slice.eq(walk.slice[:slices_log2]),
            self.first.eq(walk.first),
            self.last.eq(walk.last),
            self.row.eq(walk.row),
            self.present.eq(remaining),
        ]
        with m.If(self.start | (walk.step & walk.last)):
            m.d.sync += remaining.eq(config.valid)
        with m.Elif(walk.step):
            m.d.sync += remaining.eq(Mux(remaining > spec.lanes, remaining - spec.lanes, 0))

        self._states(m, walk)
        return m

    def _states(self, m: Module, walk: RowWalk) -> None:
        config = self.config
        softmax = config.op == VectorOp.SOFTMAX
        passes = Mux(softmax, config.passes, 0)
        known, again = Signal(), Signal()  # second sweep of sums, and of those that write
        waits = {
            op: second_sweep_wait(self.spec, op) for op in (VectorOp.SOFTMAX, VectorOp.LAYERNORM)
        }
        wait = Signal(range(max(waits.values()) + 1))
        first_wait = Mux(softmax, waits[VectorOp.SOFTMAX], waits[VectorOp.LAYERNORM])
        if self.spec.experts:
            route_wait = second_sweep_wait(self.spec, VectorOp.ROUTE)
            first_wait = Mux(config.op == VectorOp.ROUTE, route_wait, first_wait)
        with m.If(wait != 0):
            m.d.sync += wait.eq(wait - 1)
        m.d.comb += self.busy.eq(1)
        m.d.sync += self.known.eq(known)

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.busy.eq(0), self.command.ready.eq(1)]
                with m.If(self.command.valid):
                    m.d.sync += config.eq(self.command.payload)
                    m.next = "SETUP"
            with m.State("SETUP"):
                m.next = "START"
            with m.State("START"):
                m.d.comb += self.start.eq(1)
                m.d.sync += [known.eq(0), again.eq(0)]
                with m.If(config.op == VectorOp.SCALE):
                    m.next = "SECOND"
                with m.Else():
                    m.next = "FIRST"
            with m.State("FIRST"):
                m.d.comb += walk.step.eq(1)
                m.d.sync += self.second.eq(0)
                row_ends = walk.last & (walk.row == 0)
                with m.If(row_ends):
                    m.d.sync += wait.eq(first_wait)
                with m.If(walk.final):
                    with m.If(row_ends | (wait > 1)):
                        m.next = "WAIT"
                    with m.Else():
                        self._next_sweep(m, passes, known)
                if self.spec.experts:
                    self._count_sweeps(m, walk)
            with m.State("WAIT"):
                with m.If(wait <= 1):
                    self._next_sweep(m, passes, known)
            with m.State("SECOND"):
                m.d.comb += walk.step.eq(1)
                m.d.sync += self.second.eq(1)
                with m.If(walk.final):
                    m.d.sync += again.eq(1)
                    with m.If((passes != 3) | again):
                        m.next = "DRAIN"
            with m.State("DRAIN"), m.If(self.done):
                m.next = "IDLE"

    def _next_sweep(self, m: Module, passes: Value, known: Signal) -> None:
        m.next = "SECOND"
        with m.If(passes[1] & ~known):
            m.d.sync += known.eq(1)
            m.next = "FIRST"
        if self.spec.experts:
            with m.If(self.config.op == VectorOp.ROUTE):
                m.next = "FIRST"

    def _count_sweeps(self, m: Module, walk: RowWalk) -> None:
        """Let ROUTE end after as many sweeps as a token has experts."""
        sweep = Signal(range(MAX_TOP + 1))
        routes = self.config.op == VectorOp.ROUTE
        more = routes & (sweep + 1 != self.config.top)
        m.d.sync += [
            self.later.eq(sweep != 0),
            self.final.eq(walk.final),
            self.finish.eq(walk.final & ~more),
        ]
        with m.If(walk.final):
            m.d.sync += sweep.eq(Mux(more, sweep + 1, 0))
            with m.If(routes & ~more):
                m.next = "DRAIN"
