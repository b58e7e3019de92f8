"""The N largest of every M numbers: what makes N:M weights out of dense ones."""

from dataclasses import dataclass
from itertools import product
from typing import Any, ClassVar

import numpy as np

from moesaic.hls_templates.unit import Unit, Vectors, sample
from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.models.float_format import FORMATS
from moesaic.models.float_select import select
from moesaic.models.requant import Ints
from moesaic.models.sparse import compress, prune

INTEGERS = {"int8": 8, "int16": 16}
NUMBERS = (*INTEGERS, *FORMATS)


@dataclass(frozen=True, kw_only=True)
class Select(Unit):
    """Values and places of the largest magnitudes of a group; equal ones: the lowest place.

    Integers follow ``prune`` and ``compress`` of :mod:`moesaic.models.sparse`, floating-point
    patterns ``select`` of :mod:`moesaic.models.float_select`.

    Parameters
    ----------
    numbers : str
        ``int8``, ``int16``, ``fp16``, ``bf16`` or ``fp32``.
    nm : NM
        How many of how many.
    """

    kind: ClassVar[str] = "select"
    models: ClassVar[str] = "moesaic.models.sparse, .float_select"
    needs: ClassVar[tuple[str, ...]] = ("integers", "streams")

    numbers: str = "int8"
    nm: NM = NM(n=2, m=8)  # noqa: RUF009 # frozen

    def __post_init__(self) -> None:
        """Refuse parameters out of range."""
        self.check_choice("numbers", NUMBERS)
        if not isinstance(self.nm, NM):
            raise InputError("nm must be N:M, not dense")

    @property
    def bits(self) -> int:
        """Bits of a number."""
        return INTEGERS.get(self.numbers) or FORMATS[self.numbers].bits

    def constants(self) -> dict[str, Any]:
        """Return the template's variables."""
        return super().constants() | {
            "bits": self.bits,
            "integer": self.numbers in INTEGERS,
            "n": self.nm.n,
            "m": self.nm.m,
        }

    def vectors(self, seed: int) -> Vectors:
        """Return all groups of a few values if M is 4, else a sample of them; limits and ties."""
        rng = np.random.default_rng(seed)
        low = -(1 << (self.bits - 1))
        few = np.array([0, 1, -1, 2, -low - 1, low])
        if self.nm.m == 4:
            small = few[np.array(list(product(range(len(few)), repeat=4)))]
        else:
            small = rng.choice(few, (1500, self.nm.m))
        groups = np.concatenate([small, sample(rng, self.bits, (1500, self.nm.m))])
        if self.numbers in INTEGERS:
            values, places = _of_integers(groups, self.nm)
        else:
            groups &= (1 << self.bits) - 1
            values, places = select(groups, self.nm, FORMATS[self.numbers])
        return Vectors.of({"group": groups}, {"value": values, "place": places})


def _of_integers(groups: Ints, nm: NM) -> tuple[Ints, Ints]:
    weight = groups.T  # a group is the only one of a column
    values, places = compress(np.where(prune(weight, nm), weight, 0), nm)
    return values.T, places.T
