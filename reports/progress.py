"""Tells how far long work is: a moving line on a terminal, plain lines elsewhere."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from moesaic.sim.options import Progress

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


@contextmanager
def counted_progress(total: int, what: str) -> Iterator["Counter"]:
    """Give a counter of `total` equal pieces of work."""
    if not sys.stdout.isatty():
        yield Counter(total=total, what=what)
        return
    from rich.progress import Progress as Bars

    with Bars() as bars:
        task = bars.add_task(what, total=total)
        counter = Counter(total=total, what=what)
        counter.show = lambda text: bars.update(task, advance=1, description=text)
        yield counter


class Counter:
    """Counts pieces of work and prints a line for each."""

    def __init__(self, *, total: int, what: str) -> None:
        self.total, self.what, self.done = total, what, 0
        self.show = lambda text: print(text, flush=True)

    def step(self, text: str) -> None:
        """Say that one more piece is done."""
        self.done += 1
        self.show(f"{self.what} {self.done}/{self.total}  {text}")


def _plain(stage: str, seconds: float | None) -> None:
    if seconds is not None:
        print(f"{WORDS[stage]}: {seconds:.1f} s", flush=True)
