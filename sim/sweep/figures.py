"""Which of two points is better: objectives, constraints, the front."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from moesaic.sim.sweep.evaluate import Outcome
from moesaic.sim.sweep.resources import NAMES

if TYPE_CHECKING:
    from moesaic.sim.sweep.space import Space

ACCURACY = "accuracy"
OBJECTIVES = {
    "cycles": 1,
    "latency": 1,
    "throughput": -1,
    "bytes": 1,
    **dict.fromkeys(NAMES, 1),
    ACCURACY: -1,
    "energy": 1,
}
"""Figures that can be objectives: 1 where less is better, -1 where more is."""
BOUNDED = (*OBJECTIVES, "bytes_read", "bytes_written")
FITS = "fits"
NEVER = 1e6  # violation of a point that cannot be built
WORST = 1e30  # stands for its figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """How good a point is: `values` are to be minimised, `violated` names what it breaks.

    `violation` is by how much in all, relative to the bounds: 0 for a feasible point.
    """

    values: tuple[float, ...]
    violation: float
    violated: tuple[str, ...]

    @property
    def feasible(self) -> bool:
        """Whether all constraints hold."""
        return not self.violation


def judge(space: "Space", outcome: Outcome) -> Verdict:
    """Return what a point is worth in a space."""
    figures = outcome.figures
    if figures is None:
        values = (WORST,) * len(space.objectives)
        return Verdict(values=values, violation=NEVER, violated=("valid",))
    excess: dict[str, float] = {}
    if space.fits and not figures[FITS]:
        excess[FITS] = 1.0
    for name, (low, high) in space.bounds.items():
        value = figures[name]
        over = max(value - high if high is not None else 0, low - value if low is not None else 0)
        if over > 0:
            excess[name] = over / max(abs(value), abs(value - over), over)
    return Verdict(
        values=tuple(OBJECTIVES[name] * figures[name] for name in space.objectives),
        violation=sum(excess.values()),
        violated=tuple(excess),
    )


def front(verdicts: Mapping[int, Verdict]) -> list[int]:
    """Return the feasible points that no other is at least as good as in all and better in one.

    They are ordered by their first value; points of equal values are all on the front.
    """
    good = sorted((v.values, number) for number, v in verdicts.items() if v.feasible)
    kept: list[tuple[tuple[float, ...], int]] = []
    for values, number in good:  # who dominates a point comes before it in this order
        if not any(_dominates(other, values) for other, _ in kept):
            kept.append((values, number))
    return [number for _, number in kept]


def best(verdicts: Mapping[int, Verdict], count: int) -> list[int]:
    """Return up to `count` points: the front's by the first objective, then the other feasible."""
    first = front(verdicts)
    rest = sorted((v.values, n) for n, v in verdicts.items() if v.feasible and n not in set(first))
    return [*first, *(number for _, number in rest)][:count]


def _dominates(one: Sequence[float], other: Iterable[float]) -> bool:
    pairs = list(zip(one, other, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)
