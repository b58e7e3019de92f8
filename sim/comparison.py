"""What a comparison finds, tensor by tensor."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.program import Program
from moesaic.models.commands import Buffer
from moesaic.models.graph import Ints

WIDE = (Buffer.SCORE, Buffer.RESIDUAL)


@dataclass(slots=True, kw_only=True)
class LayerCheck:
    """One tensor: values compared, how many differ, and the first difference in words."""

    name: str
    compared: int = 0
    different: int = 0
    first: str = ""

    def add(self, got: Ints, expected: Ints, where: str) -> None:
        """Compare two arrays of one shape."""
        self.compared += expected.size
        bad = np.argwhere(got != expected)
        if len(bad):
            at = tuple(int(i) for i in bad[0])
            self.first = self.first or (
                f"{where} at {at}: RTL {int(got[at])}, model {int(expected[at])}"
            )
            self.different += len(bad)


@dataclass(slots=True, kw_only=True)
class Comparison:
    """All tensors of one run."""

    layers: dict[str, LayerCheck] = field(default_factory=dict)

    def layer(self, name: str) -> LayerCheck:
        """Return the check of one node."""
        return self.layers.setdefault(name, LayerCheck(name=name))

    @property
    def mismatches(self) -> int:
        """Layers with at least one different value."""
        return sum(check.different > 0 for check in self.layers.values())

    @property
    def first(self) -> str:
        """The first difference."""
        return next((f"{c.name}: {c.first}" for c in self.layers.values() if c.different), "")


def nothing_more(records: NDArray[Any], program: Program, out: Comparison) -> None:
    """Count results that no command asked for against the last node."""
    check = out.layer(program.graph.nodes[-1].name)
    check.add(np.array([len(records)]), np.array([0]), "results beyond the last command's")
