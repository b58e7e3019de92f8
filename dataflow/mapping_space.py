"""The mappings of a network on a machine: which values are tried, and which of them together."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from math import prod
from typing import Any

from moesaic.dataflow.choices import KNOBS, Freedom, Freedoms, Value
from moesaic.dataflow.options import NOTHING, MapOptions
from moesaic.models.graph import Graph, LayerNorm, Product, Scale, Scores

AHEAD = (0, 1, 2, 3, 4, 6, 8, 12, 16)
LAGS = (0, 1, 2, 3, 4, 8)
GLOBAL = ("lag", "images")
SEARCHED = (*KNOBS, *GLOBAL)
"""All that a search may choose; `attention` is `rows` of scores and mixes."""
MANY = 8  # values of a number that are all tried
PARTS = (2, 3, 4, 6, 8)
CHAIN_PARTS = PARTS[:3]
JOINT = 24  # combinations of one layer's choices that are tried together
BLOCKS = (
    ("tiles",),
    ("rows", "order"),
    ("heads", "order"),
    ("slots",),
    ("values",),
    ("ahead",),
    ("early",),
)
WHOLE = ""  # in place of a layer's name: the whole mapping

Change = tuple[tuple[str, str, Value], ...]
"""Layers, knobs and values."""
Coordinate = tuple[Change, ...]
"""Changes of which one is taken."""
Chain = tuple[str, ...]
"""Layers of which each can begin on the rows that the one before it has done."""


def tried(knob: str, freedom: Freedom) -> tuple[Value, ...]:
    """Return the values of a knob that are tried, the usual one first.

    All of them where they are few, else both ends, and what cuts the largest into equal parts.
    """
    allowed = freedom.allowed
    if isinstance(allowed, tuple):
        return allowed
    usual = int(freedom.usual)
    if knob == "ahead":
        values = {value for value in AHEAD if value in allowed}
    elif len(allowed) <= MANY:
        values = set(allowed)
    else:
        values = {allowed[0], allowed[-1], *(-(-allowed[-1] // part) for part in PARTS)}
    return (usual, *sorted(values - {usual}))


def chains(graph: Graph) -> list[Chain]:
    """Return the chains of a network: rows of the vector unit and what reads them, attentions."""
    out: list[Chain] = []
    for node in graph.nodes:
        users = graph.users(node.name)
        if isinstance(node, LayerNorm | Scale):
            products = [user.name for user in users if isinstance(user, Product)]
            out += [(node.name, name) for name in products[:1]]
            if len(products) > 1:
                out.append((node.name, *products))
        elif isinstance(node, Scores):
            out += [(node.name, s.name, m.name) for s in users for m in graph.users(s.name)]
    return out


def coordinates(
    freedoms: Freedoms,
    knobs: Iterable[str],
    images: Sequence[int],
    links: Iterable[Chain],
    *,
    alike: bool,
) -> list[Coordinate]:
    """Return what a search walks through, layer by layer or, `alike`, those of one form together.

    Chains come first, since they bring most. Layers have one form if their names differ in numbers
    alone and they have the same choices.
    `images` are the sizes of groups that a batch may have.
    """
    wanted = set(knobs)
    groups: dict[object, list[Chain]] = {}
    for chain in [*links, *((name,) for name in freedoms)]:
        asked = [freedoms.get(name, {}) for name in chain]
        forms = tuple(tuple((k, f.usual, f.allowed) for k, f in a.items()) for a in asked)
        plain = tuple(re.sub(r"\d+", "#", name) for name in chain)
        groups.setdefault((plain, forms) if alike else chain, []).append(chain)
    out: list[Coordinate] = []
    for members in groups.values():
        first, wide = members[0], len(members[0]) > 1
        some = _chained(freedoms, first, wanted) if wide else _of_layer(freedoms, first[0], wanted)
        out += [tuple(_for_all(change, members) for change in coordinate) for coordinate in some]
    return out + _whole(wanted, images)


def every(
    freedoms: Freedoms, knobs: Iterable[str], images: Sequence[int], *, most: int
) -> list[Coordinate] | None:
    """Return coordinates whose combinations are all mappings; None if there are more."""
    wanted = set(knobs)
    out = _whole(wanted, images)
    size = prod(len(one) for one in out)
    for name, asked in freedoms.items():
        there = {knob: freedom for knob, freedom in asked.items() if knob in wanted}
        one = tuple(islice(_combinations(name, there), most + 1))
        size *= len(one)
        if size > most:
            return None
        out.append(one)
    return out


def changed(options: MapOptions, freedoms: Freedoms, change: Change) -> MapOptions:
    """Return a mapping with the change; what is usual is left to the mapper."""
    chosen = dict(options.layers)
    known: dict[str, Any] = {}
    for name, knob, value in change:
        if name == WHOLE:
            known[knob] = value
            continue
        own: dict[str, Any] = {knob: None if value == freedoms[name][knob].usual else value}
        chosen[name] = replace(chosen.get(name, NOTHING), **own)
    return replace(options, layers=tuple(chosen.items()), **known)


def _whole(wanted: set[str], images: Sequence[int]) -> list[Coordinate]:
    """Return the choices of the whole mapping."""
    out: list[Coordinate] = []
    for knob, values in (("lag", LAGS), ("images", (0, *images))):
        if knob in wanted and (knob == "lag" or images):
            out.append(tuple(((WHOLE, knob, value),) for value in values))
    return out


def _of_layer(freedoms: Freedoms, name: str, wanted: set[str]) -> Iterator[Coordinate]:
    """Yield what is tried together of a layer: all of it where that is little, else by blocks."""
    there = {knob: freedom for knob, freedom in freedoms[name].items() if knob in wanted}
    whole = tuple(islice(_combinations(name, there), JOINT + 1))
    if len(whole) <= JOINT:
        if len(whole) > 1:
            yield whole
        return
    for block in BLOCKS:
        known = {knob: there[knob] for knob in block if knob in there}
        changes = tuple(_combinations(name, known))
        if len(changes) > 1:
            yield changes


def _chained(freedoms: Freedoms, chain: Chain, wanted: set[str]) -> Iterator[Coordinate]:
    """Yield cuts into rows of all layers of a chain, alone and with the smallest tiles."""
    asked = [freedoms.get(name, {}) for name in chain]
    if "rows" not in wanted or not all("rows" in one for one in asked):
        return
    changes: list[Change] = []
    for part in CHAIN_PARTS:
        rows: list[tuple[str, str, Value]] = []
        for name, one in zip(chain, asked, strict=True):
            rows.append((name, "rows", -(-int(one["rows"].allowed[-1]) // part)))
        changes.append(tuple(rows))
        cut = [name for name, one in zip(chain, asked, strict=True) if "tiles" in one]
        if cut and "order" in wanted:
            changes.append((*rows, *((name, "order", "first") for name in cut)))
            if "tiles" in wanted:
                changes.append((*changes[-1], *((name, "tiles", 1) for name in cut)))
    yield tuple(changes)


def _for_all(change: Change, members: Sequence[Chain]) -> Change:
    """Return a change of the first chain's layers as one of the same layers of all chains."""
    first = members[0]
    return tuple(
        (chain[first.index(name)], knob, value) for chain in members for name, knob, value in change
    )


def _combinations(name: str, asked: Mapping[str, Freedom]) -> Iterator[Change]:
    """Yield all combinations, but orders of rows where all rows go together."""
    for values in product(*(tried(knob, freedom) for knob, freedom in asked.items())):
        change = dict(zip(asked, values, strict=True))
        rows, order = asked.get("rows"), asked.get("order")
        whole = rows is not None and change["rows"] == rows.allowed[-1]
        if whole and order is not None and change["order"] != order.usual:
            continue
        yield tuple((name, knob, value) for knob, value in change.items())
