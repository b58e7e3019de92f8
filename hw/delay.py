"""Fixed delays: a value some cycles later."""

from amaranth.hdl import Module, Signal, Value


def delay(m: Module, value: Value, cycles: int, name: str) -> Value:
    """Return `value` as it was `cycles` ago, through a chain of registers called `name`."""
    for i in range(cycles):
        stage = Signal(value.shape(), name=f"{name}_d{i + 1}")
        m.d.sync += stage.eq(value)
        value = stage
    return value
