"""What RTL made of a program."""

from dataclasses import dataclass, field


@dataclass(slots=True, kw_only=True)
class Checked:
    """Cycles and bytes on RTL (None and 0 where none ran), and what differs from the models."""

    cycles: int | None = None
    compared: int = 0
    layers: int = 0
    mismatches: int = 0
    failures: list[str] = field(default_factory=list)
    accepted: list[int] = field(default_factory=list)
    done: list[int] = field(default_factory=list)
    bytes_read: int = 0
    bytes_written: int = 0
    seconds: dict[str, float] = field(default_factory=dict)
