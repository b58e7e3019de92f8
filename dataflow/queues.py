"""Queues of tokens that the gates' scores make, in the order in which programs route."""

from collections.abc import Mapping, Sequence

import numpy as np

from moesaic.dataflow.program import Program
from moesaic.models.commands import Unit, VectorOp
from moesaic.models.graph import Ints


def routes(program: Program) -> list[tuple[str, int]]:
    """Return node and image of each ROUTE command."""
    seen: dict[str, int] = {}
    out = []
    for command, note in program.of_unit(Unit.VECTOR):
        if command["op"] == VectorOp.ROUTE:
            out.append((note.node, seen.get(note.node, 0)))
            seen[note.node] = seen.get(note.node, 0) + 1
    return out


def queue_lengths(program: Program, tensors: Sequence[Mapping[str, Ints]]) -> list[list[list[int]]]:
    """Return for each ROUTE command, by expert, the lengths of its queues in all banks.

    `tensors` are those of each image of the batch, from :func:`moesaic.models.execute.execute`.
    """
    banks = program.spec.tokens_per_beat
    out = []
    for name, image in routes(program):
        there = tensors[image][name] >= 0
        counts = np.stack([there[bank::banks].sum(axis=0) for bank in range(banks)], axis=1)
        out.append(counts.tolist())
    return out
