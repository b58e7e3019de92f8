"""How much each parameter of a sweep moves each figure: means by value, and share of variance."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from moesaic.reports.sweep_read import Sweep

VALUES_SHOWN = 24  # of one parameter


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """One value of a parameter: how many points have it and the mean of their figure."""

    value: Any
    points: int
    mean: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """One parameter and one figure; `share` is None where the figure is the same everywhere."""

    parameter: str
    share: float | None
    means: list[Mean]


def influence(sweep: Sweep, figure: str) -> list[Effect]:
    """Return the effect of each varied parameter on a figure, over all points that have figures.

    The share is the variance of the means of each value, weighed by their points, over the
    variance of all: a main effect in the sense of an analysis of variance (eta squared).
    """
    values = [float((point.figures or {})[figure]) for point in sweep.built]
    out = []
    for name in sweep.varied:
        keys = [json.dumps(point.parameters[name]) for point in sweep.built]
        out.append(_effect(name, keys, values, sweep.parameters[name]))
    return out


def _effect(
    name: str, keys: Sequence[str], values: Sequence[float], order: Sequence[Any]
) -> Effect:
    by_value: dict[str, list[float]] = {}
    for key, value in zip(keys, values, strict=True):
        by_value.setdefault(key, []).append(value)
    mean = sum(values) / len(values) if values else 0.0
    spread = sum((value - mean) ** 2 for value in values)
    means = [
        Mean(value=value, points=len(found), mean=sum(found) / len(found))
        for value in order
        if (found := by_value.get(json.dumps(value)))
    ]
    between = sum(one.points * (one.mean - mean) ** 2 for one in means)
    return Effect(parameter=name, share=min(between / spread, 1.0) if spread else None, means=means)
