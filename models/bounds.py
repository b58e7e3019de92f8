"""Bounds of parameters, each mistake named in one line."""

from moesaic.models.errors import InputError


def check_range(owner: str, name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no integer in ``low..high``; `owner` begins the message, as ``memory.``."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise InputError(f"{owner}{name} must be an integer in {low}..{high}, not {value!r}")
    if not low <= value <= high:
        raise InputError(f"{owner}{name} must be in {low}..{high}, not {value}")


def check_power(owner: str, name: str, value: object, low: int, high: int) -> None:
    """Refuse what is no power of two in ``low..high``."""
    check_range(owner, name, value, low, high)
    assert isinstance(value, int)
    if value & (value - 1):
        raise InputError(f"{owner}{name} must be a power of two in {low}..{high}, not {value}")
