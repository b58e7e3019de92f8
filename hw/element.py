"""What a processing element has in front of its multiplier: two weights, and its operand's choice.

Columns of integers and of floating-point numbers share it.
"""

from collections.abc import Sequence
from typing import Any

from amaranth.hdl import Module, Mux, Signal, Value, signed
from amaranth.lib.wiring import In, Member

from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import log2


def index_bits(spec: AccelSpec) -> int:
    """Bits that pick a slot of the operand group (0 without sparsity)."""
    return log2(spec.group_slots)


def operand_count(spec: AccelSpec) -> int:
    """Operands on the bus that all columns share: groups times slots."""
    return spec.rows // spec.group_rows * spec.group_slots


def element_members(spec: AccelSpec, *, operand_bits: int, weight_bits: int) -> dict[str, Member]:
    """Return a column's inputs.

    - ``operands``: ``operand_count`` operands of ``operand_bits`` each.
    - ``load``, ``weights``, ``indices``: write all shadow weights of the column.
    - ``row_load``, ``row_value``: write the shadow weight of the rows marked, and their indices.
    - ``swap``: shadow weights are active from the next cycle on.
    """
    return {
        "operands": In(operand_count(spec) * operand_bits),
        "swap": In(1),
        "load": In(1),
        "weights": In(spec.rows * weight_bits),
        "indices": In(max(1, spec.rows * index_bits(spec))),
        "row_load": In(spec.rows),
        "row_value": In(weight_bits),
    }


def element(m: Module, column: Any, row: int) -> tuple[Signal, Signal]:
    """Return the operand that a row picks and its weight, both a register behind the bus.

    `column` has a `spec` and the members above.
    """
    spec, width = column.spec, index_bits(column.spec)
    bits = len(column.row_value)
    operand_bits = len(column.operands) // operand_count(spec)
    slots = spec.group_slots

    shadow = Signal(signed(bits), name=f"shadow{row}")
    active = Signal(signed(bits), name=f"active{row}")
    with m.If(column.load):
        m.d.sync += shadow.eq(column.weights.word_select(row, bits))
    with m.Elif(column.row_load[row]):
        m.d.sync += shadow.eq(column.row_value)
    with m.If(column.swap):
        m.d.sync += active.eq(shadow)

    group = row // spec.group_rows
    choices: list[Value] = [
        column.operands.word_select(group * slots + slot, operand_bits) for slot in range(slots)
    ]
    picked = choices[0]
    if width:
        shadow_index = Signal(width, name=f"shadow_index{row}")
        active_index = Signal(width, name=f"active_index{row}")
        with m.If(column.load | column.row_load[row]):
            m.d.sync += shadow_index.eq(column.indices.word_select(row, width))
        with m.If(column.swap):
            m.d.sync += active_index.eq(shadow_index)
        picked = _select(choices, active_index)
    operand = Signal(operand_bits, name=f"operand{row}")
    weight = Signal(signed(bits), name=f"weight{row}")
    m.d.sync += [operand.eq(picked), weight.eq(active)]
    return operand, weight


def _select(choices: Sequence[Value], index: Value) -> Value:
    """Return ``choices[index]`` through a tree of two-way multiplexers, as wide LUTs take them."""
    for bit in index:
        choices = [Mux(bit, b, a) for a, b in zip(choices[::2], choices[1::2], strict=True)]
    return choices[0]
