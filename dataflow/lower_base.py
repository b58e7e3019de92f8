"""What all lowerings share: places, last uses, steps so far."""

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.scratch import Place, Scratch, ceil_div
from moesaic.dataflow.steps import Step
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.geometry import geometry
from moesaic.models.graph import (
    Graph,
    LayerNorm,
    Mix,
    Node,
    Pool,
    Product,
    Route,
    Scale,
    Scores,
    Softmax,
)


def sources(node: Node) -> tuple[str, ...]:
    """Return the names of the tensors that a node reads."""
    match node:
        case Product():
            return tuple(name for name in (node.x, node.residual, node.route) if name)
        case Scores():
            return (node.q, node.k)
        case Mix():
            return (node.p, node.v)
        case Softmax() | LayerNorm() | Scale() | Pool() | Route():
            return (node.x,)
    return ()


class LoweringBase:
    """State of a lowering."""

    def __init__(self, spec: AccelSpec, graph: Graph, *, input_address: int) -> None:
        self.spec, self.graph, self.input_address = spec, graph, input_address
        self.scratch = Scratch(spec=spec)
        self.places: dict[str, Place] = {}
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.channels: dict[str, NDArray[np.int64]] = {}
        self.deferred = {node.v for node in graph.nodes if isinstance(node, Mix)}
        self.route_steps: dict[str, int] = {}
        self._users: dict[str, list[str]] = {}
        for node in graph.nodes:
            for name in sources(node):
                self._users.setdefault(name, []).append(node.name)
        self._pending = {name: set(users) for name, users in self._users.items()}

    def users(self, name: str) -> list[Node]:
        """Return the nodes that read a tensor."""
        return [self.graph[user] for user in self._users.get(name, [])]

    def last_use(self, name: str, by: str) -> bool:
        """Whether `by` is the only node that still has to read the tensor."""
        return self._pending.get(name, set()) <= {by}

    def release(self, name: str, by: str) -> None:
        """Note that `by` has read the tensor; free its place after the last reader."""
        pending = self._pending[name]
        pending.discard(by)
        place = self.places.get(name)
        if not pending and place is not None:
            shared = any(
                other is place and self._pending.get(key, {key})
                for key, other in self.places.items()
                if key != name
            )
            del self.places[name]
            if not shared:
                self.scratch.free(place)

    def feeds_pool(self, name: str) -> bool:
        """Whether a tensor is summed over its tokens."""
        return any(isinstance(user, Pool) for user in self.users(name))

    def beats(self, buffer: Buffer) -> int:
        """Return the bus beats in a word of a scratchpad."""
        return 1 << geometry(self.spec, buffer).beats_log2

    def columns_width(self, channels: int) -> int:
        """Return `channels` rounded up to whole tiles."""
        return ceil_div(channels, self.spec.columns) * self.spec.columns
