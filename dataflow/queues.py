"""Queues of tokens that the gates' scores make, in the order in which programs route."""

from collections.abc import Mapping, Sequence

import numpy as np

from moesaic.dataflow.program import Note, Program
from moesaic.models.commands import Command, Unit, VectorOp
from moesaic.models.graph import Ints


def routes(program: Program) -> list[tuple[str, int]]:
    """Return node and image of each ROUTE command."""
    return [(note.node, note.image) for _, note in _routes(program)]


def queue_lengths(program: Program, tensors: Sequence[Mapping[str, Ints]]) -> list[list[list[int]]]:
    """Return for each ROUTE command, by expert, the lengths of its queues in all banks after it.

    `tensors` are those of each image of the batch, from :func:`moesaic.models.execute.execute`.
    """
    banks = program.spec.tokens_per_beat
    out: list[list[list[int]]] = []
    for command, note in _routes(program):
        there = tensors[note.image][note.node] >= 0
        counts = np.stack([there[bank::banks].sum(axis=0) for bank in range(banks)], axis=1)
        if command.get("append"):
            counts += np.array(out[-1])
        out.append(counts.tolist())
    return out


def _routes(program: Program) -> list[tuple[Command, Note]]:
    return [
        (command, note)
        for command, note in program.of_unit(Unit.VECTOR)
        if command["op"] == VectorOp.ROUTE
    ]
