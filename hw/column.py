"""One column of the array: double-buffered weights, operand selection, multipliers, adder tree."""

from amaranth.hdl import Cat, Module, Signal, Value, signed
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.delay import delay
from moesaic.hw.element import element, element_members
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2
from moesaic.models.requant import BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS

PACK = 18  # bits between two packed products: four of 16 bits sum without overflow
TREE_STEP = 4  # terms that are added between two registers


def operand_bits(spec: AccelSpec) -> int:
    """Bits of one operand: a value, or two tokens' values packed for one multiplier.

    Those are the first token's value and, one bit wider, the second one's less what the first
    borrows from it: 1 where it is negative. So a packed operand needs sign bits, but no adder.
    """
    return spec.data_bits if spec.tokens_per_beat == 1 else 2 * spec.data_bits + 1


def sum_bits(spec: AccelSpec) -> int:
    """Bits of a column's sum of products."""
    return 2 * spec.data_bits + log2(spec.rows)


class Column(wiring.Component):
    """Multiply the operands that `rows` weights pick and add them up, for each token of the beat.

    One beat a cycle, ``column_latency(spec)`` cycles, no back-pressure. `swap` makes the shadow
    weights active from the next cycle on.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    operands, load, weights, indices, row_load, row_value, swap : ``In``, as `element_members`.
    param_load, params, param_swap : ``In``, the same for bias, multiplier and shift.
    sums : ``Out``, ``tokens_per_beat`` sums of ``sum_bits``.
    bias, multiplier, shift : ``Out``, active parameters.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        super().__init__(
            {
                **element_members(
                    spec, operand_bits=operand_bits(spec), weight_bits=spec.data_bits
                ),
                "param_load": In(1),
                "params": In(BIAS_BITS + MULTIPLIER_BITS + SHIFT_BITS),
                "param_swap": In(1),
                "sums": Out(spec.tokens_per_beat * sum_bits(spec)),
                "bias": Out(signed(BIAS_BITS)),
                "multiplier": Out(MULTIPLIER_BITS),
                "shift": Out(SHIFT_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        products = [self._element(m, row) for row in range(self.spec.rows)]
        m.d.comb += self.sums.eq(Cat(*self._tree(m, products)))

        shadow = Signal.like(self.params, name="param_shadow")
        active = Signal.like(self.params, name="param_active")
        with m.If(self.param_load):
            m.d.sync += shadow.eq(self.params)
        with m.If(self.param_swap):
            m.d.sync += active.eq(shadow)
        m.d.comb += Cat(self.bias, self.multiplier, self.shift).eq(active)
        return m

    def _element(self, m: Module, row: int) -> Signal:
        """One processing element; returns its product register (of packed products)."""
        bits, tokens = self.spec.data_bits, self.spec.tokens_per_beat
        operand, weight = element(m, self, row)
        if tokens == 1:
            product = Signal(signed(2 * bits), name=f"product{row}")
            m.d.sync += product.eq(operand.as_signed() * weight)
            return product
        low, high = operand[:bits], operand[bits:]
        packed = Cat(low, low[-1].replicate(PACK - bits), high).as_signed()
        product = Signal(signed(PACK + 2 * bits), name=f"product{row}")
        m.d.sync += product.eq(packed * weight)
        return product

    def _tree(self, m: Module, products: list[Signal]) -> list[Signal]:
        """Build the registered adder tree; return one sum per token."""
        if self.spec.tokens_per_beat == 1:
            return [self._reduce(m, _level(m, products, step=TREE_STEP, name="four"), 0)]
        # A register behind each pair, so that half of the additions are those of the DSP blocks.
        pairs = _level(m, products, step=2, name="pair")
        lows, highs = [], []
        for i, (a, b) in enumerate(zip(pairs[::2], pairs[1::2], strict=True)):
            total = a + b
            low = Signal(signed(PACK), name=f"low{i}")
            high = Signal(signed(PACK), name=f"high{i}")
            m.d.sync += [low.eq(total[:PACK]), high.eq(total >> PACK)]
            lows.append(low)
            highs.append(high)
        # each low sum borrowed one from its high sum where it is negative
        borrows = _add([Cat(low[-1]) for low in lows])
        return [self._reduce(m, lows, 0), self._reduce(m, highs, 1, borrows)]

    def _reduce(
        self, m: Module, terms: list[Signal], token: int, extra: Value | None = None
    ) -> Signal:
        """Add `terms`, two levels a register, and `extra` in the last of them."""
        level = 0
        out = Signal(signed(sum_bits(self.spec)), name=f"sum{token}")
        while len(terms) > 1:
            step = min(TREE_STEP, len(terms))
            last = len(terms) == step
            name = f"sum{token}_{level}_"
            terms = _level(m, terms, step=step, name=name, extra=extra if last else None)
            if last:
                extra = None
            elif extra is not None:
                extra = delay(m, extra, 1, f"extra{level}")
            level += 1
        m.d.comb += out.eq(terms[0] if extra is None else terms[0] + extra)
        return out


def _level(
    m: Module, terms: list[Signal], *, step: int, name: str, extra: Value | None = None
) -> list[Signal]:
    """Add each `step` terms into a register."""
    width = signed(len(terms[0]) + (step > 1) + (step > 2))
    sums = []
    for i in range(0, len(terms), step):
        total = Signal(width, name=f"{name}{i // step}")
        value = _add(terms[i : i + step])
        m.d.sync += total.eq(value if extra is None else value + extra)
        sums.append(total)
    return sums


def _add(terms: list[Signal]) -> Value:
    """Balanced sum."""
    values: list[Value] = list(terms)
    while len(values) > 1:
        values = [a + b for a, b in zip(values[::2], values[1::2], strict=True)]
    return values[0]
