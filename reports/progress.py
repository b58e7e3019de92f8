"""Tells how far long work is: a moving line on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from moesaic.sim.options import Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars

WORDS = {
    "load": "load model and images",
    "quantise": "quantise",
    "map": "map onto the accelerator",
    "predict": "predict cycles",
    "elaborate": "elaborate the RTL",
    "compile": "compile the simulation",
    "simulate": "simulate",
    "compare": "compare with the models",
    "evaluate": "evaluate",
}


@contextmanager
def stage_progress() -> Iterator[Progress]:
    """Give a function that shows stages as they begin and end."""
    if not sys.stdout.isatty():
        yield _plain
        return
    from rich.progress import Progress as Bars
    from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

    with Bars(SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()) as bars:
        tasks = {}

        def show(stage: str, seconds: float | None) -> None:
            if seconds is None:
                tasks[stage] = bars.add_task(WORDS[stage], total=1)
            else:
                bars.update(tasks[stage], completed=1)

        yield show


class Counter:
    """Counts pieces of work: a line for each, or a moving bar."""

    def __init__(self, what: str, bars: "Bars | None" = None) -> None:
        self.what, self.bars = what, bars
        self.task = None if bars is None else bars.add_task(what, total=None)

    def show(self, done: int, total: int, text: str) -> None:
        """Say that `done` pieces of `total` are behind us, and what the last or next one is."""
        line = f"{self.what} {done}/{total}  {text}".rstrip()
        if self.bars is None or self.task is None:
            print(line, flush=True)
        else:
            self.bars.update(self.task, completed=done, total=total, description=line)


@contextmanager
def counted_progress(what: str) -> Iterator[Counter]:
    """Give a counter of equal pieces of work."""
    if not sys.stdout.isatty():
        yield Counter(what)
        return
    from rich.progress import Progress as Bars

    with Bars() as bars:
        yield Counter(what, bars)


def _plain(stage: str, seconds: float | None) -> None:
    if seconds is not None:
        print(f"{WORDS[stage]}: {seconds:.1f} s", flush=True)
