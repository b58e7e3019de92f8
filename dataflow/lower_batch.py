"""Batches: each layer of all images in turn, so that weights which came once serve all of them."""

from collections.abc import Iterator

from moesaic.dataflow.lower import Lowering
from moesaic.dataflow.scratch import ceil_div
from moesaic.dataflow.steps import Step
from moesaic.models.graph import (
    Input,
    LayerNorm,
    Mix,
    Node,
    Pool,
    Product,
    Route,
    Scale,
    Scores,
)


class BatchLowering(Lowering):
    """Lower all images of a batch, group of nodes by group of nodes.

    - The products of an expert take the queues of all images at once.
    - A group whose weights lie in the ring together goes image by image.
    - A product whose weights do not goes part by part, each part for all images.

    A group ends before a product that would wait for the vector unit's rows of its own image.
    """

    def run(self) -> list[Step]:
        """Return the steps of all images."""
        for group in self._groups():
            first = group[0]
            start = len(self.steps)
            if isinstance(first, Product) and first.route:
                for step in self._lower(group, None):
                    step.images = self.images
                    step.macs *= self.images
                continue
            parts = len(group) == 1 and isinstance(first, Product)
            with self.keeping(parts):
                images = [self._lower(group, image) for image in range(self.images)]
            _share(images)
            if parts:
                self.steps[start:] = [s for same in zip(*images, strict=True) for s in same]
        for image in range(self.images):
            self.places.image = image
            self.store_result()
            self.steps[-1].image = image
        self.places.image = 0
        return self.steps

    def _lower(self, nodes: list[Node], image: int | None) -> list[Step]:
        """Lower nodes for one image, or for all at once; return their steps."""
        start = len(self.steps)
        self.places.image = image
        for node in nodes:
            self.lower(node)
            if node.name in self.places:
                self.channels[node.name] = self.places[node.name].channels
        for step in self.steps[start:]:
            step.image = image or 0
        return self.steps[start:]

    def _groups(self) -> Iterator[list[Node]]:
        """Cut the graph into groups."""
        group: list[Node] = []
        lines, vector = 0, False  # of weights; whether the group has rows of the vector unit
        reads_input: set[str] = set()
        for node in self.graph.nodes:
            product = isinstance(node, Product | Scores | Pool)
            rows = isinstance(node, LayerNorm | Scale | Route)
            need = self._lines(node)
            fits = lines + need + self.spec.weight_lines // 4 <= self.spec.weight_lines
            routed = isinstance(node, Product) and node.route
            if group and not reads_input and (routed or (product and (vector or not fits))):
                yield from self._whole(group, lines)
                group, lines, vector = [], 0, False
            if routed:
                yield [node]
                continue
            group.append(node)
            lines += need
            vector |= rows
            if isinstance(node, Input):
                reads_input = {user.name for user in self.graph.users(node.name)}
            reads_input.discard(node.name)
        if group:
            yield from self._whole(group, lines)

    def _whole(self, group: list[Node], lines: int) -> Iterator[list[Node]]:
        """Part a product that fills the ring from the rows that follow it."""
        if lines > self.spec.weight_lines and isinstance(group[0], Product) and len(group) > 1:
            yield group[:1]
            yield group[1:]
        else:
            yield group

    def _lines(self, node: Node) -> int:
        """Return the lines of weights that a node needs, with the values' product at the scores."""
        if isinstance(node, Scores):
            softmax = self.graph.users(node.name)[0]
            mix = self.graph.users(softmax.name)[0]
            return self._product_lines(self.graph[mix.v] if isinstance(mix, Mix) else mix)
        if node.name in self.deferred:
            return 0
        return self._product_lines(node)

    def _product_lines(self, node: Node) -> int:
        if not isinstance(node, Product):
            return 0
        spec = self.spec
        inputs, outputs = node.weight.shape
        nm = node.nm if node.nm in spec.sparsity else None
        return (
            ceil_div(inputs, spec.operands_per_beat(nm))
            * ceil_div(outputs, spec.columns)
            * spec.columns
        )


def _share(images: list[list[Step]]) -> None:
    """Let the steps of all images name the same data, which then lies in memory once."""
    for steps in images[1:]:
        for first, step in zip(images[0], steps, strict=True):
            for known, fetch in zip(first.fetches, step.fetches, strict=True):
                fetch.data = known.data
