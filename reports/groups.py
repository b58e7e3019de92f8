"""Groups of layers, by their names: blocks and kinds."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

GROUPS = 40  # more make no picture
Part = TypeVar("Part", bound=str)
Row = dict[str, Any]


def block_of(name: str) -> str:
    """Return the block of a layer: its name up to the first number, or its first part."""
    text = name.strip("/.")
    match = re.match(r"(.*?(?:^|[./_])\d+)(?=[./_]|$)", text)
    return match[1] if match else re.split(r"[./]", text)[0]


def kind_of(name: str) -> str:
    """Return the name of a layer without its block's number."""
    text = name.strip("/.")
    match = re.match(r".*?(?:^|[./_])\d+[./_](.+)", text)
    return match[1] if match else text


def grouped(
    nodes: Mapping[str, Mapping[Part, int]],
    parts: Iterable[Part],
    group_of: Callable[[str], str],
) -> list[Row]:
    """Return groups of nodes with their cycles by part; the smallest of too many are put together.

    Parameters
    ----------
    nodes : mapping of str to mapping of str to int
        Cycles of each part of each node.
    parts : iterable of str
        All parts, in their order.
    group_of : callable
        The group of a node.
    """
    none = dict.fromkeys(parts, 0)
    sums: dict[str, dict[Part, int]] = {}
    for node, cycles in nodes.items():
        _add(sums.setdefault(group_of(node), none.copy()), cycles)
    if len(sums) > GROUPS:
        kept = sorted(sums, key=lambda name: -sum(sums[name].values()))[: GROUPS - 1]
        rest = none.copy()
        for name in set(sums) - set(kept):
            _add(rest, sums[name])
        sums = {name: sums[name] for name in sums if name in kept} | {"all others": rest}
    longest = max((sum(c.values()) for c in sums.values()), default=1)
    return [
        {"name": name, "parts": c, "cycles": sum(c.values()), "longest": longest}
        for name, c in sums.items()
    ]


def _add(total: dict[Part, int], more: Mapping[Part, int]) -> None:
    for part, cycles in more.items():
        total[part] += cycles
