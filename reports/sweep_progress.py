"""How far a sweep is: a bar with rate and time left on a terminal, plain lines elsewhere."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

EVERY = 5.0  # seconds between plain lines


class SweepProgress:
    """Shows points as they are done, and points as they go to RTL."""

    def __init__(self, bars: "Bars | None" = None) -> None:
        self.bars = bars
        self.tasks: dict[str, TaskID] = {}
        self.began = self.said = time.monotonic()

    def points(self, done: int, total: int, computed: int) -> None:
        """Say that `done` of `total` points are known, `computed` of them new."""
        now = time.monotonic()
        if computed <= 1:
            self.began = now  # the first point sets up what the others use
        rate = (computed - 1) / (now - self.began) if computed > 1 and now > self.began else 0.0
        left = f"{(total - done) / rate:,.0f} s left" if rate else ""
        speed = f"{rate:.1f} points/s" if rate else ""
        if self.bars is not None:
            self._bar("points", done, total, f"{speed}  {left}")
        elif done == total or not computed or now - self.said >= EVERY:
            self.said = now
            print(f"points {done:,}/{total:,}  {speed}  {left}".rstrip(), flush=True)

    def verifying(self, done: int, total: int, text: str) -> None:
        """Say that `done` of `total` points have been on RTL, and which is next."""
        if self.bars is not None:
            self._bar("RTL", done, total, text)
        else:
            print(f"RTL {done}/{total}  {text}".rstrip(), flush=True)

    def _bar(self, what: str, done: int, total: int, text: str) -> None:
        assert self.bars is not None
        if what not in self.tasks:
            self.tasks[what] = self.bars.add_task(what, total=total, note="")
        self.bars.update(self.tasks[what], completed=done, total=total, note=text)


@contextmanager
def sweep_progress() -> Iterator[SweepProgress]:
    """Give what shows a sweep's progress."""
    if not sys.stdout.isatty():
        yield SweepProgress()
        return
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Bars(*columns) as bars:
        yield SweepProgress(bars)
