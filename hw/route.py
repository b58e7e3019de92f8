"""Routing of tokens to experts: the winner of each row in each sweep, its score, its token."""

from amaranth.hdl import Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.gate_score import GateScore
from moesaic.hw.vector_ports import ROUTE_WRITE
from moesaic.hw.winner import Winner
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.vector_timing import OPERAND_AT, gate_score_at, reference_at, winner_at

FLAGS = ("first", "last", "later", "final", "finish")


class Route(wiring.Component):
    """Tell for each row and sweep which expert wins: the best in the first sweep, then the next.

    One row a cycle, gate_score_at cycles after its last beat was read, no back-pressure. Cycles
    are those of :mod:`moesaic.models.vector_timing`.

    Parameters
    ----------
    spec : AccelSpec
        With experts.

    Members
    -------
    start : ``In(1)``, begin at `token`. `token` : ``In(16)``, stable during a command.
    step : ``In(1)``, cycle 0, a beat of gate logits is read. With it:
    first, last : ``In(1)``, first or last beat of a row.
    later, final, finish : ``In(1)``, a sweep after the first; the last beat of a sweep, and of the
        last sweep.
    candidates, before : ``In``, as :class:`moesaic.hw.winner.Winner` has them.
    key, write, wrap : ``Out``, winner_at: a row's key to be written, and row 0 follows it.
    reference, mantissa, exponent : ``In``, as :class:`moesaic.hw.gate_score.GateScore` has them.
    route : ``Out(ROUTE_WRITE)``, gate_score_at.
    done : ``Out(1)``, with the last winner.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        self.winner = Winner(spec)
        self.gate_score = GateScore(spec)
        winner, score = (part.signature.members for part in (self.winner, self.gate_score))
        super().__init__(
            {
                "start": In(1),
                "token": In(16),
                **{name: In(1) for name in ("step", *FLAGS)},
                **{name: winner[name] for name in ("candidates", "before", "key")},
                "write": Out(1),
                "wrap": Out(1),
                **{name: score[name] for name in ("reference", "mantissa", "exponent")},
                "route": Out(ROUTE_WRITE),
                "done": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        experts_log2 = log2(spec.experts)
        banks_log2 = log2(spec.tokens_per_beat)
        m.submodules.winner = winner = self.winner
        m.submodules.gate_score = gate_score = self.gate_score

        # The winner of each row, and its score.
        m.d.comb += [
            winner.candidates.eq(self.candidates),
            winner.first.eq(delay(m, self.first, OPERAND_AT - 1, "first")),
            winner.before.eq(self.before),
            winner.later.eq(delay(m, self.later, OPERAND_AT - 1, "later")),
            self.key.eq(winner.key),
            self.write.eq(delay(m, self.step & self.last, winner_at(spec), "write")),
            self.wrap.eq(delay(m, self.step & self.final, winner_at(spec), "wrap")),
        ]
        key = delay(m, winner.key, reference_at(spec) - winner_at(spec), "key")
        expert = ~key[:experts_log2]
        m.d.comb += [
            gate_score.value.eq(key[experts_log2:]),
            gate_score.reference.eq(self.reference),
            gate_score.mantissa.eq(self.mantissa),
            gate_score.exponent.eq(self.exponent),
            self.route.expert.eq(
                delay(m, expert, gate_score_at(spec) - reference_at(spec), "expert")
            ),
            self.route.score.eq(gate_score.score),
        ]

        # Its token, counted from the first one in each sweep.
        wait = gate_score_at(spec) - 1 - winner_at(spec)
        step = delay(m, self.write, wait, "step")
        final = delay(m, self.wrap, wait, "final")
        finish = delay(m, self.finish, gate_score_at(spec) - 1, "finish")
        token = Signal(16)
        with m.If(self.start | final):
            m.d.sync += token.eq(self.token)
        with m.Elif(step):
            m.d.sync += token.eq(token + 1)
        m.d.sync += [
            self.route.valid.eq(step),
            self.route.bank.eq(token[:banks_log2]),
            self.route.row.eq(token[banks_log2:]),
            self.done.eq(final & finish),
        ]
        return m
