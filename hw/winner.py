"""The winner among a row of gate logits: the largest below that of the sweep before."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.reduce import Reduce
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.requant import limits
from moesaic.models.vector_timing import OPERAND_AT, gate_lanes, winner_at


def key_bits(spec: AccelSpec) -> int:
    """Return the bits of a key: a value above its inverted place in the row."""
    return spec.wide_bits + log2(spec.experts)


class Winner(wiring.Component):
    """Find the largest key of each row, or the largest below the one found in the sweep before.

    A key is a logit above its inverted place in the row. The keys of a row all differ, and among
    equal logits the one at the lowest place has the largest.

    One beat a cycle, beats of a row without gaps, no back-pressure. Cycles are those of
    :mod:`moesaic.models.vector_timing`: a member is due, or there, in the cycle given with it.

    Parameters
    ----------
    spec : AccelSpec
        With experts, at least as many as a row has values.

    Members
    -------
    candidates : ``In(ArrayLayout(signed(wide_bits), gate_lanes(spec)))``, OPERAND_AT; the smallest
        value where a row has ended.
    first : ``In(1)``, OPERAND_AT - 1, the beat begins a row.
    before : ``In(signed(key_bits(spec)))``, OPERAND_AT - 1, the row's key of the sweep before.
    later : ``In(1)``, OPERAND_AT - 1, only keys below `before` count; all without it.
    key : ``Out(signed(key_bits(spec)))``, winner_at, with a row's last beat.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        key = signed(key_bits(spec))
        super().__init__(
            {
                "candidates": In(ArrayLayout(signed(spec.wide_bits), gate_lanes(spec))),
                "first": In(1),
                "before": In(key),
                "later": In(1),
                "key": Out(key),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        lanes = gate_lanes(spec)
        lanes_log2 = log2(lanes)
        key = self.key.shape()
        lowest = limits(key.width)[0]
        m.submodules.tree = tree = Reduce(lanes=lanes, shape=key, maximum=True)

        # OPERAND_AT: keys that are not below the one before take the lowest one's place, which is
        # that of a real value only if no other is left.
        beat = Signal(log2(spec.experts // lanes))
        before = Signal(key)
        later = Signal()
        m.d.sync += [
            beat.eq(Mux(self.first, 0, beat + 1)),
            before.eq(self.before),
            later.eq(self.later),
        ]
        for i in range(lanes):
            inverted = Cat(Const(lanes - 1 - i, lanes_log2), ~beat)
            lane = Signal(key, name=f"key_{i}")
            m.d.comb += lane.eq(Cat(inverted, self.candidates[i]))
            m.d.sync += tree.i[i].eq(Mux(~later | (lane < before), lane, lowest))

        # From beat to beat.
        first = delay(m, self.first, winner_at(spec) - OPERAND_AT, "first")
        keep = ~first & (self.key > tree.o)
        with m.If(~keep):
            m.d.sync += self.key.eq(tree.o)
        return m
