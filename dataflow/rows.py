"""Steps cut into groups of rows of tokens, which the next unit need not wait for together."""

from dataclasses import replace

from moesaic.dataflow.scoreboard import Span
from moesaic.dataflow.scratch import NAMES, ceil_div
from moesaic.dataflow.steps import Step, Work
from moesaic.models.commands import Buffer

STATISTICS = "ROWSTAT"  # a row of them for each row of tokens


def row_groups(rows: int, size: int) -> list[range]:
    """Return groups of at most `size` of so many rows."""
    return [range(first, min(first + size, rows)) for first in range(0, rows, size)]


def split_product(step: Step, size: int) -> list[Step]:
    """Return a product as one step for each group of rows: the same tiles, fewer tokens.

    All that its STREAM command reads and writes must lie row by row.
    """
    stationary, stream = step.works
    rows = stream.fields["beats"]
    if size >= rows:
        return [step]
    out = []
    for group in row_groups(rows, size):
        fields = {
            "beats": len(group),
            "odd": stream.fields["odd"] if group.stop == rows else 0,
            "base": stream.fields["base"] + group.start * stream.fields["pitch"],
            "dest_base": stream.fields["dest_base"] + group.start * stream.fields["dest_pitch"],
        }
        works = [
            replace(stationary, fields=dict(stationary.fields)),
            _narrowed(stream, fields, group),
        ]
        macs = step.macs * group.stop // rows - step.macs * group.start // rows
        out.append(_part(step, works, group, macs))
    return out


def split_vector(step: Step, size: int, tokens_per_beat: int) -> list[Step]:
    """Return rows of the vector unit as one step for each group of them.

    All that its command reads and writes must lie row by row.
    """
    (work,) = step.works
    tokens = work.fields["tokens"]
    rows = ceil_div(tokens, tokens_per_beat)
    if size >= rows:
        return [step]
    out = []
    for group in row_groups(rows, size):
        first = group.start * tokens_per_beat
        fields = {
            "tokens": min(tokens - first, len(group) * tokens_per_beat),
            "base": work.fields["base"] + group.start * work.fields["pitch"],
            "dest_base": work.fields["dest_base"] + group.start * work.fields["dest_pitch"],
        }
        out.append(_part(step, [_narrowed(work, fields, group)], group, 0))
    return out


def _narrowed(work: Work, fields: dict[str, int], group: range) -> Work:
    """Return a command with other fields that touches a group of its rows only."""
    if "rowstat_base" in work.fields:
        fields["rowstat_base"] = work.fields["rowstat_base"] + group.start
    written = {
        NAMES[Buffer(work.fields["dest"])]: work.fields["dest_pitch"],
        STATISTICS: 1,
    }
    read = written | {NAMES[Buffer(work.fields["source"])]: work.fields["pitch"]}

    def rows_of(span: Span, pitches: dict[str, int]) -> Span:
        name, start, _ = span
        return name, start + group.start * pitches[name], start + group.stop * pitches[name]

    return replace(
        work,
        fields=work.fields | fields,
        reads=tuple(rows_of(span, read) for span in work.reads),
        writes=tuple(rows_of(span, written) for span in work.writes),
    )


def _part(step: Step, works: list[Work], group: range, macs: int) -> Step:
    fetches = [replace(fetch) for fetch in step.fetches]
    return replace(step, row=group.start, works=works, fetches=fetches, macs=macs)
