"""The search for a mapping: fewest cycles by the exact model, all mappings where they are few.

Where they are many, it goes downhill: first in layers of one form together, then in single layers,
then from places near the best one. It depends on its arguments alone.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from moesaic.dataflow.choices import Freedoms
from moesaic.dataflow.mapping_space import (
    SEARCHED,
    Chain,
    Coordinate,
    changed,
    coordinates,
    every,
)
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.models.errors import InputError

KICKS = 3  # coordinates that change at random where no single one brings anything
ATTEMPTS = 1000

Cycles = Callable[[MapOptions], int]
"""What a mapping costs; InputError where the network does not fit with it."""
Progress = Callable[[int, int, int], None]
"""Called with the mappings tried, how many may be, and the fewest cycles so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The best mapping, its cycles and those of the start.

    `tried` mappings were evaluated, `every` one of those that there are or not.
    """

    options: MapOptions
    cycles: int
    start_cycles: int
    tried: int
    every: bool


class _Spent(Exception):  # noqa: N818 - it ends a search and is no error
    """All mappings that may be tried have been."""


class _Search:
    """The best mapping so far."""

    def __init__(
        self, cycles: Cycles, start: MapOptions, freedoms: Freedoms, budget: int, progress: Progress
    ) -> None:
        self._cycles, self._budget, self._progress = cycles, budget, progress
        self.freedoms = freedoms
        self._known: dict[MapOptions, int | None] = {}
        self.best = start
        self.fewest = self.start_cycles = cycles(start)
        self._known[start] = self.fewest

    @property
    def tried(self) -> int:
        """Mappings that were evaluated."""
        return len(self._known)

    def cost(self, options: MapOptions) -> int | None:
        """Return the cycles of a mapping, None if it does not fit; keep it if it is the best."""
        if options not in self._known:
            if self.tried >= self._budget:
                raise _Spent
            try:
                self._known[options] = self._cycles(options)
            except InputError:
                self._known[options] = None
            cycles = self._known[options]
            if cycles is not None and cycles < self.fewest:
                self.best, self.fewest = options, cycles
            self._progress(self.tried, self._budget, self.fewest)
        return self._known[options]

    def descend(self, options: MapOptions, walk: Sequence[Coordinate]) -> MapOptions:
        """Return where no change of a single coordinate takes fewer cycles."""
        best, fewest = options, self.cost(options)
        idle = 0
        while idle < len(walk):
            for coordinate in walk:
                before = best
                for change in coordinate:
                    one = changed(before, self.freedoms, change)
                    cycles = self.cost(one)
                    if cycles is not None and (fewest is None or cycles < fewest):
                        best, fewest = one, cycles
                idle = 0 if best != before else idle + 1
                if idle >= len(walk):
                    break
        return best


def search_mapping(
    cycles: Cycles,
    freedoms: Freedoms,
    *,
    start: MapOptions = STANDARD,
    images: Sequence[int] = (),
    links: Sequence[Chain] = (),
    knobs: Iterable[str] = SEARCHED,
    budget: int,
    seed: int = 0,
    progress: Progress | None = None,
) -> Found:
    """Search for the mapping of fewest cycles; of equal ones the first that was tried.

    Parameters
    ----------
    cycles : callable
        Cycles of a mapping, or InputError.
    freedoms : Freedoms
        The choices that there are, from :func:`moesaic.dataflow.mapper.freedoms`.
    start : MapOptions
        Where to begin; the result never takes more cycles.
    images : sequence of int
        Sizes of groups of images that the batch may have.
    links : sequence of Chain
        Layers to be cut into rows together, from :func:`moesaic.dataflow.mapping_space.chains`.
    knobs : iterable of str
        What may be changed.
    budget : int
        Mappings that may be evaluated, the start among them.
    seed : int
        Of the changes at random.

    Raises
    ------
    InputError
        If the network does not fit with the start.
    """
    wanted = tuple(knobs)
    search = _Search(cycles, start, freedoms, budget, progress or (lambda *_: None))
    all_of_them = every(freedoms, wanted, images, most=budget - 1)
    try:
        if all_of_them is not None:
            _walk_all(search, start, all_of_them)
        else:
            rng = np.random.default_rng(seed)
            groups, single = (
                coordinates(freedoms, wanted, images, links, alike=alike) for alike in (True, False)
            )
            _walk_down(search, groups, single, rng)
    except _Spent:
        pass
    return Found(
        options=search.best,
        cycles=search.fewest,
        start_cycles=search.start_cycles,
        tried=search.tried,
        every=all_of_them is not None,
    )


def _walk_all(search: _Search, start: MapOptions, walk: Sequence[Coordinate]) -> None:
    for changes in product(*walk):
        options = start
        for change in changes:
            options = changed(options, search.freedoms, change)
        search.cost(options)


def _walk_down(
    search: _Search,
    groups: Sequence[Coordinate],
    single: Sequence[Coordinate],
    rng: np.random.Generator,
) -> None:
    search.descend(search.best, groups)
    while True:
        order = [single[int(i)] for i in rng.permutation(len(single))]
        search.descend(search.best, order)
        kicked = _kicked(search, single, rng)
        if kicked is None:
            return
        search.descend(kicked, order)


def _kicked(
    search: _Search, walk: Sequence[Coordinate], rng: np.random.Generator
) -> MapOptions | None:
    """Return a mapping near the best that is new and fits; None if there seems to be none left."""
    for attempt in range(ATTEMPTS):
        kicked = search.best
        count = min(KICKS + attempt // 50, len(walk))
        for place in rng.choice(len(walk), size=count, replace=False):
            one = walk[int(place)]
            kicked = changed(kicked, search.freedoms, one[int(rng.integers(len(one)))])
        tried = search.tried
        if search.cost(kicked) is not None and search.tried > tried:
            return kicked
    return None
