"""Queues of tokens that the gates' scores make, in the order in which programs route."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from moesaic.dataflow.program import Program
from moesaic.models.commands import Unit, VectorOp
from moesaic.models.graph import Ints


class Routing(NamedTuple):
    """A ROUTE command: its node and image, and whether it adds to the queues that there are."""

    node: str
    image: int
    append: bool


def routes(program: Program) -> list[Routing]:
    """Return what each ROUTE command does, in order."""
    return [
        Routing(note.node, note.image, bool(command.get("append")))
        for command, note in program.of_unit(Unit.VECTOR)
        if command["op"] == VectorOp.ROUTE
    ]


def queue_lengths(program: Program, tensors: Sequence[Mapping[str, Ints]]) -> list[list[list[int]]]:
    """Return for each ROUTE command, by expert, the lengths of its queues in all banks after it.

    `tensors` are those of each image of the batch, from :func:`moesaic.models.execute.execute`.
    """
    return lengths_after(routes(program), program.spec.tokens_per_beat, tensors)


def lengths_after(
    routings: Sequence[Routing], banks: int, tensors: Sequence[Mapping[str, Ints]]
) -> list[list[list[int]]]:
    """Return the lengths of all queues after each ROUTE command, as :func:`queue_lengths` does."""
    out: list[list[list[int]]] = []
    for node, image, append in routings:
        there = tensors[image][node] >= 0
        counts = np.stack([there[bank::banks].sum(axis=0) for bank in range(banks)], axis=1)
        if append:
            counts += np.array(out[-1])
        out.append(counts.tolist())
    return out
