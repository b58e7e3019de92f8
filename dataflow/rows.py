"""Steps cut into groups of rows of tokens, which the next unit need not wait for together."""

from dataclasses import replace

from moesaic.dataflow.scratch import NAMES, ceil_div
from moesaic.dataflow.steps import Step, Work
from moesaic.models.commands import Buffer

Rows = tuple[str, int, int]  # scratchpad, first word, words of a row
STATISTICS = "ROWSTAT"  # a row of them for each row of tokens


def row_groups(rows: int, size: int) -> list[range]:
    """Return groups of at most `size` of so many rows."""
    return [range(first, min(first + size, rows)) for first in range(0, rows, size)]


def split_product(step: Step, size: int) -> list[Step]:
    """Return a product as one step for each group of rows: the same tiles, fewer tokens.

    All that its STREAM command reads and writes must lie row by row.
    """
    stationary, stream = step.works
    fields = stream.fields
    rows, pitch, dest_pitch = fields["beats"], fields["pitch"], fields["dest_pitch"]
    if size >= rows:
        return [step]
    reads, writes = _pitched(stream)
    out = []
    for group in row_groups(rows, size):
        start, stop = group.start, group.stop
        mine = fields.copy()
        mine["beats"] = stop - start
        mine["odd"] = fields["odd"] if stop == rows else 0
        mine["base"] += start * pitch
        mine["dest_base"] += start * dest_pitch
        works = [
            Work(
                unit=stationary.unit,
                fields=stationary.fields.copy(),
                reads=stationary.reads,
                writes=stationary.writes,
                ports=stationary.ports,
            ),
            _narrowed(stream, mine, group, reads, writes),
        ]
        macs = step.macs * stop // rows - step.macs * start // rows
        out.append(_part(step, works, group, macs))
    return out


def split_vector(step: Step, size: int, tokens_per_beat: int) -> list[Step]:
    """Return rows of the vector unit as one step for each group of them.

    All that its command reads and writes must lie row by row.
    """
    (work,) = step.works
    fields = work.fields
    tokens = fields["tokens"]
    rows = ceil_div(tokens, tokens_per_beat)
    if size >= rows:
        return [step]
    reads, writes = _pitched(work)
    out = []
    for group in row_groups(rows, size):
        first = group.start * tokens_per_beat
        mine = fields.copy()
        mine["tokens"] = min(tokens - first, len(group) * tokens_per_beat)
        mine["base"] += group.start * fields["pitch"]
        mine["dest_base"] += group.start * fields["dest_pitch"]
        out.append(_part(step, [_narrowed(work, mine, group, reads, writes)], group, 0))
    return out


def _pitched(work: Work) -> tuple[list[Rows], list[Rows]]:
    """Return what a command reads and writes: scratchpads, first words, and words of a row."""
    written = {NAMES[Buffer(work.fields["dest"])]: work.fields["dest_pitch"], STATISTICS: 1}
    read = written | {NAMES[Buffer(work.fields["source"])]: work.fields["pitch"]}
    return (
        [(name, start, read[name]) for name, start, _ in work.reads],
        [(name, start, written[name]) for name, start, _ in work.writes],
    )


def _narrowed(
    work: Work, fields: dict[str, int], group: range, reads: list[Rows], writes: list[Rows]
) -> Work:
    """Return a command with other fields that touches a group of its rows only."""
    first, end = group.start, group.stop
    if "rowstat_base" in fields:
        fields["rowstat_base"] += first
    return Work(
        unit=work.unit,
        fields=fields,
        reads=tuple([(name, at + first * row, at + end * row) for name, at, row in reads]),
        writes=tuple([(name, at + first * row, at + end * row) for name, at, row in writes]),
        ports=work.ports,
    )


def _part(step: Step, works: list[Work], group: range, macs: int) -> Step:
    return Step(
        node=step.node,
        part=step.part,
        row=group.start,
        image=step.image,
        images=step.images,
        works=works,
        fetches=[replace(fetch) for fetch in step.fetches],
        macs=macs,
        ahead=step.ahead,
    )
