"""Command-line arguments: mistakes are one line, numbers are checked where they are read."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from moesaic.models.errors import InputError

DIGITS = 12  # no number of a user's is longer


class Parser(argparse.ArgumentParser):
    """A parser whose mistakes are InputErrors, and that takes no abbreviations."""

    def __init__(self, **options: object) -> None:
        super().__init__(**options, allow_abbrev=False)  # type: ignore[arg-type]

    def error(self, message: str) -> NoReturn:
        """Refuse by one line."""
        raise InputError(f"{self.prog}: {message}".removeprefix("moesaic").lstrip(" :"))


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of integers in low..high."""

    def read(text: str) -> int:
        plain = text.removeprefix("-")
        good = plain.isascii() and plain.isdecimal() and len(plain) <= DIGITS
        if not good or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(
                f"must be an integer in {low}..{high}, not {text!r:.40}"
            )
        return int(text)

    return read


def number(low: float, high: float) -> Callable[[str], float]:
    """Return a reader of numbers in low..high."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            message = f"must be a number in {low}..{high}, not {text!r:.40}"
            raise argparse.ArgumentTypeError(message)
        return value

    return read


def path(text: str) -> Path:
    """Read a path; an empty one or one with a zero byte is none."""
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"must be the name of a file or directory, not {text!r}")
    return Path(text)
