"""The host's registers: byte offsets in the AXI4-Lite space, 32 bits each."""

from enum import IntEnum


class Register(IntEnum):
    """Byte offset of each register."""

    CONTROL = 0x00
    STATUS = 0x04
    ERROR = 0x08
    INTERRUPT = 0x0C
    PROGRAM_LOW = 0x10
    PROGRAM_HIGH = 0x14
    CYCLES_LOW = 0x18
    CYCLES_HIGH = 0x1C
    BUSY_LOAD = 0x20
    BUSY_STORE = 0x24
    BUSY_STATIONARY = 0x28
    BUSY_STREAM = 0x2C
    BUSY_VECTOR = 0x30


REGISTERS: tuple[tuple[Register, str], ...] = (
    (Register.CONTROL, "write 1: start; write 2: clear done and the interrupt"),
    (Register.STATUS, "bit 0 done, bit 1 running, bit 2 error"),
    (Register.ERROR, "bits 0..1 first bad RRESP, bits 2..3 first bad BRESP"),
    (Register.INTERRUPT, "bit 0: raise the interrupt when a run ends"),
    (Register.PROGRAM_LOW, "byte address of the program, low half"),
    (Register.PROGRAM_HIGH, "byte address of the program, high half"),
    (Register.CYCLES_LOW, "cycles of the last run, low half"),
    (Register.CYCLES_HIGH, "cycles of the last run, high half"),
    (Register.BUSY_LOAD, "cycles in which the load unit was busy"),
    (Register.BUSY_STORE, "cycles in which the store unit was busy"),
    (Register.BUSY_STATIONARY, "cycles in which the stationary loader was busy"),
    (Register.BUSY_STREAM, "cycles in which the stream unit was busy"),
    (Register.BUSY_VECTOR, "cycles in which the vector unit was busy"),
)
