"""A small chart of one line, in its own units, for values that may be missing."""

from collections.abc import Sequence
from typing import Any

WIDTH, HEIGHT = 780, 180
LEFT, RIGHT, TOP, BOTTOM = 64, 16, 12, 30


def line_chart(values: Sequence[float | None]) -> dict[str, Any] | None:
    """Return lines, points (x, y, number from 1, value) and ticks; None for less than two values.

    A value that is None breaks the line.
    """
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return None
    low, high = min(known), max(known)
    span = high - low or 1.0

    def y(value: float) -> float:
        return round(HEIGHT - BOTTOM - (value - low) / span * (HEIGHT - TOP - BOTTOM), 1)

    def x(place: int) -> float:
        return round(LEFT + place / (len(values) - 1) * (WIDTH - LEFT - RIGHT), 1)

    lines: list[list[tuple[float, float]]] = [[]]
    points = []
    for place, value in enumerate(values):
        if value is None:
            lines.append([])
            continue
        points.append((x(place), y(value), place + 1, value))
        lines[-1].append(points[-1][:2])
    step = -(-(len(values) - 1) // 10)
    return {
        "width": WIDTH,
        "height": HEIGHT,
        "left": LEFT,
        "right": WIDTH - RIGHT,
        "bottom": HEIGHT - BOTTOM,
        "paths": [" ".join(f"{px},{py}" for px, py in line) for line in lines if len(line) > 1],
        "points": points,
        "ticks": [(y(value), f"{value:.3g}") for value in (low, (low + high) / 2, high)],
        "numbers": [(x(place), place + 1) for place in range(0, len(values), step)],
    }
