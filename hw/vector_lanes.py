"""All lanes of the vector unit: their values out of a word, and the reductions over them."""

from typing import Any

from amaranth.hdl import Cat, Module, Signal, signed
from amaranth.lib import wiring
from amaranth.lib.data import ArrayLayout
from amaranth.lib.wiring import In, Out

from moesaic.hw.cell import place
from moesaic.hw.delay import delay
from moesaic.hw.reduce import Reduce
from moesaic.hw.vector_lane import ENTRY_BITS, VectorLane, lane_signature
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import RAM_READ, log2
from moesaic.models.vector_timing import gate_lanes

SHARED = (
    "second",
    "mean",
    "scale",
    "z_shift",
    "use_entry",
    "multiplier",
    "shift",
    "softmax",
    "reference",
)
REDUCED = ("candidate", "square", "upper", "lower", "power")


class VectorLanes(wiring.Component):
    """Place `lanes` lanes side by side; one beat a cycle, no back-pressure.

    Members with the name of one of :class:`VectorLane` go to all lanes, in the cycle that it says.
    Those with the name of one of its results are their sum (`candidate`: the largest), later by
    ``tree_latency``.

    Parameters
    ----------
    spec : AccelSpec
    lane_module : str, optional
        Place instances of the module of this name, a :class:`VectorLane` that is elaborated once
        and elsewhere; without it the lanes are submodules.

    Members
    -------
    slice, present : ``In``, cycle 0: slice of the word; values from its first on that are real.
    read_data : ``In``, cycle RAM_READ, the word.
    norm_data : ``In``, cycle Z_AT - 1, entries of all lanes side by side.
    narrow, wide : ``Out``, results side by side, `wide` in whole bytes.
    second, mean, scale, z_shift, use_entry, multiplier, shift, softmax, reference : ``In``
    candidate, square, upper, lower, power : ``Out``
    candidates : ``Out``, OPERAND_AT, only with experts: the values of the lanes that a row of gate
        logits reaches.
    """

    def __init__(self, spec: AccelSpec, *, lane_module: str | None = None) -> None:
        self.spec = spec
        self.lane_module = lane_module
        self.lane_signature = lane_signature(spec)
        members = self.lane_signature.members
        shared = {name: members[name] for name in SHARED}
        self.trees = {
            name: Reduce(
                lanes=spec.lanes,
                shape=members[name].shape,
                maximum=name == "candidate",
            )
            for name in REDUCED
        }
        value = members["candidate"].shape
        every = {"candidates": Out(ArrayLayout(value, gate_lanes(spec)))} if spec.experts else {}
        super().__init__(
            {
                "slice": In(max(1, log2(spec.wide_word // spec.lanes))),
                "present": In(16),
                "read_data": In(spec.wide_word * 8 * spec.wide_bytes),
                "norm_data": In(ENTRY_BITS * spec.lanes),
                "narrow": Out(spec.lanes * spec.data_bits),
                "wide": Out(spec.lanes * 8 * spec.wide_bytes),
                **shared,
                **{name: tree.signature.members["o"] for name, tree in self.trees.items()},
                **every,
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        container = 8 * spec.wide_bytes
        beat = Signal(spec.lanes * container)
        late_slice = delay(m, self.slice, RAM_READ, "slice")
        m.d.comb += beat.eq(self.read_data.word_select(late_slice, len(beat)))
        real = Signal(spec.lanes)
        m.d.sync += real.eq(Cat(self.present > i for i in range(spec.lanes)))
        real_late = delay(m, real, RAM_READ - 1, "real")

        for name, tree in self.trees.items():
            m.submodules[f"tree_{name}"] = tree
            m.d.comb += getattr(self, name).eq(tree.o)
        for i in range(spec.lanes):
            lane = self._lane(m, f"lane_{i}")
            wide = Signal(signed(container), name=f"wide_{i}")
            m.d.comb += [
                lane.data.eq(beat.word_select(i, container)),
                lane.real.eq(real_late[i]),
                lane.entry.eq(self.norm_data.word_select(i, ENTRY_BITS)),
                wide.eq(lane.wide),
                self.wide.word_select(i, container).eq(wide),
                self.narrow.word_select(i, spec.data_bits).eq(lane.narrow),
                *(getattr(lane, name).eq(getattr(self, name)) for name in SHARED),
                *(tree.i[i].eq(getattr(lane, name)) for name, tree in self.trees.items()),
            ]
            if i < gate_lanes(spec):
                m.d.comb += self.candidates[i].eq(lane.candidate)
        return m

    def _lane(self, m: Module, name: str) -> Any:
        if self.lane_module:
            return place(m, name, self.lane_module, self.lane_signature)
        m.submodules[name] = lane = VectorLane(self.spec)
        return lane
