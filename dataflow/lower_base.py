"""What all lowerings share: places, last uses, steps so far."""

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.choices import Choices
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.places import Places
from moesaic.dataflow.scratch import Scratch, ceil_div
from moesaic.dataflow.steps import Step
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.geometry import geometry
from moesaic.models.graph import Graph, Mix, Pool, sources


class LoweringBase:
    """State of a lowering: of one image, or of `images` whose tensors have places of their own."""

    def __init__(
        self, spec: AccelSpec, graph: Graph, *, options: MapOptions, images: int = 1
    ) -> None:
        self.spec, self.graph = spec, graph
        self.options, self.images = options, images
        self.choices = Choices(options.layers)
        self.scratch = Scratch(spec=spec)
        self.places = Places(self.scratch, images)
        self.steps: list[Step] = []
        self.notes: list[str] = []
        self.channels: dict[str, NDArray[np.int64]] = {}
        self.deferred = {node.v for node in graph.nodes if isinstance(node, Mix)}
        self.route_steps: dict[str, int] = {}
        self._pending: list[dict[str, set[str]]] = [{} for _ in range(images)]
        for node in graph.nodes:
            for name in sources(node):
                for pending in self._pending:
                    pending.setdefault(name, set()).add(node.name)
        self._kept: list[tuple[int | None, str, str]] | None = None

    def last_use(self, name: str, by: str) -> bool:
        """Whether `by` is the only node that still has to read the tensor."""
        return all(pending.get(name, set()) <= {by} for pending in self._present())

    def release(self, name: str, by: str) -> None:
        """Note that `by` has read the tensor; free its place after the last reader."""
        if self._kept is not None:
            self._kept.append((self.places.image, name, by))
            return
        for pending in self._present():
            pending[name].discard(by)
        if self.last_use(name, "") and name in self.places:
            self.places.release(name)

    @contextmanager
    def keeping(self, keep: bool = True) -> Iterator[None]:
        """Free nothing before the end: what is lowered inside will be put in another order."""
        self._kept = [] if keep else None
        yield
        kept, self._kept = self._kept, None
        for image, name, by in kept or ():
            self.places.image = image
            self.release(name, by)

    def tokens(self, name: str) -> int:
        """Return the tokens of a tensor; of all images at once, as many as their rows hold."""
        tokens = self.graph[name].tokens
        if self.places.image is not None:
            return tokens
        return self.images * self.rows(tokens) * self.spec.tokens_per_beat

    def rows(self, tokens: int) -> int:
        """Return the rows of so many tokens."""
        return ceil_div(tokens, self.spec.tokens_per_beat)

    def _present(self) -> list[dict[str, set[str]]]:
        """Return who has still to read what, of the image at work or of each one."""
        image = self.places.image
        return self._pending if image is None else [self._pending[image]]

    def feeds_pool(self, name: str) -> bool:
        """Whether a tensor is summed over its tokens."""
        return any(isinstance(user, Pool) for user in self.graph.users(name))

    def beats(self, buffer: Buffer) -> int:
        """Return the bus beats in a word of a scratchpad."""
        return 1 << geometry(self.spec, buffer).beats_log2

    def columns_width(self, channels: int) -> int:
        """Return `channels` rounded up to whole tiles."""
        return ceil_div(channels, self.spec.columns) * self.spec.columns
