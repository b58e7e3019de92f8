"""Experts token by token: their steps again for every token that goes to them."""

from dataclasses import replace
from itertools import groupby

from moesaic.dataflow.steps import Fetch, Step
from moesaic.models.commands import Unit, VectorOp


def by_token(steps: list[Step], *, tokens_per_beat: int) -> list[Step]:
    """Return the steps with those of each expert repeated for each token that its queues can hold.

    What an expert fetches is fetched for each token, and skipped for places that none has.
    """
    out: list[Step] = []
    routed_at, places = 0, 0
    for expert, group in groupby(steps, key=_expert):
        mine = list(group)
        if not expert:
            for step in mine:
                for work in step.works:
                    if work.unit == Unit.VECTOR and work.fields["op"] == VectorOp.ROUTE:
                        rows = -(-work.fields["tokens"] // tokens_per_beat)
                        routed_at, places = len(out), rows * tokens_per_beat
                out.append(step)
            continue
        for place in range(1, places + 1):
            for step in mine:
                behind = len(out) - routed_at
                out.append(_at(step, expert, place, places=places, behind=behind))
    return out


def _expert(step: Step) -> int:
    return max((work.fields.get("expert", 0) for work in step.works), default=0)


def _at(step: Step, expert: int, place: int, *, places: int, behind: int) -> Step:
    """Return the step for one of the places of the expert's queues."""
    works = [replace(work, fields={**work.fields, "place": place}) for work in step.works]
    fetches: list[Fetch] = [
        replace(fetch, expert=expert, place=place, behind=behind) for fetch in step.fetches
    ]
    macs = step.macs * place // places - step.macs * (place - 1) // places
    return replace(step, row=place, works=works, fetches=fetches, macs=macs)
