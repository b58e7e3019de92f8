"""What the cycles of some points of the front are spent on, layer by layer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from moesaic.sim.sweep.evaluate import layer_cycles
from moesaic.sim.sweep.point import Parameters
from moesaic.sim.sweep.space import Space
from moesaic.sim.sweep.store import Store

SHOWN = 8  # points of the front


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """A point's cycles by layer, all workloads together; they add up to the point's cycles."""

    number: int
    cycles: dict[str, int]


def breakdowns(
    space: Space, store: Store, parameters: Mapping[str, Parameters], front: Sequence[int]
) -> list[Breakdown]:
    """Return the breakdowns of points that lie evenly along the front, first and last among them.

    Parameters
    ----------
    space, store
    parameters : mapping
        Of each point, by its key.
    front : sequence of int
        Points by their first objective.
    """
    last = len(front) - 1
    shown = min(SHOWN, len(front))
    places = {round(i * last / max(1, shown - 1)) for i in range(shown)}
    keys = {one.number: key for key, one in store.points.items()}
    out = []
    for place in sorted(places):
        cycles: dict[str, int] = {}
        for layers in layer_cycles(space.problem, parameters[keys[front[place]]]):
            for name, spent in layers.items():
                cycles[name] = cycles.get(name, 0) + spent
        out.append(Breakdown(number=front[place], cycles=cycles))
    return out
