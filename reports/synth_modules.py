"""A Verilog hierarchy as modules: each distinct one once, with the number of its placements."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

MODULE = re.compile(r"^module (\w+)\(.*?^endmodule$", re.MULTILINE | re.DOTALL)
INSTANCE = re.compile(r"^  (\w+) (\w+) \($", re.MULTILINE)
ZEROS = re.compile(r"^  initial for \(.*\n", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """One distinct module.

    Parameters
    ----------
    name : str
        The first name that it has; modules of the same content count as one.
    text : str
        Its Verilog, its instances renamed to the names used here.
    children : dict of str to int
        Modules that it places, and how often.
    key : str
        Hash of its content and that of all below.
    """

    name: str
    text: str
    children: dict[str, int]
    key: str


def distinct_modules(verilog: str) -> dict[str, Module]:
    """Return the distinct modules of a hierarchy by name, each after those that it places.

    Loops that clear a memory are left out: block RAM and LUT RAM start at zero anyway, and the
    loops would be unrolled.
    """
    return named_modules(verilog)[0]


def named_modules(verilog: str) -> tuple[dict[str, Module], dict[str, str]]:
    """Return `distinct_modules`, and for each name in the text the one that it has there."""
    texts = {match[1]: ZEROS.sub("", match[0]) for match in MODULE.finditer(verilog)}
    names: dict[str, str] = {}  # every module's name: the name of the first of its kind
    by_key: dict[str, Module] = {}

    def visit(name: str) -> None:
        if name in names:
            return
        for match in INSTANCE.finditer(texts[name]):
            if match[1] in texts:
                visit(match[1])

        def first_name(match: re.Match[str]) -> str:
            return match[0].replace(match[1], names.get(match[1], match[1]), 1)

        text = INSTANCE.sub(first_name, texts[name])
        found = Counter(match[1] for match in INSTANCE.finditer(text))
        children = {child: count for child, count in found.items() if child in texts}
        keys = [modules[child].key for child in children]
        body = text.replace(f"module {name}(", "module (", 1)
        key = hashlib.sha256("\n".join([body, *keys]).encode()).hexdigest()
        if key not in by_key:
            by_key[key] = Module(name=name, text=text, children=children, key=key)
            modules[name] = by_key[key]
        names[name] = by_key[key].name

    modules: dict[str, Module] = {}
    for name in texts:
        visit(name)
    return modules, names


def batches(modules: Iterable[Module], size: int) -> list[list[Module]]:
    """Return the modules in order, as lists of about `size` characters."""
    lists: list[list[Module]] = [[]]
    room = size
    for module in modules:
        if len(module.text) > room and lists[-1]:
            lists.append([])
            room = size
        lists[-1].append(module)
        room -= len(module.text)
    return lists


def placements(modules: Mapping[str, Module], top: str) -> dict[str, int]:
    """Return how often each module occurs in one `top`."""
    counts: Counter[str] = Counter({top: 1})
    for name in reversed(list(modules)):  # parents before children
        for child, count in modules[name].children.items():
            counts[child] += counts[name] * count
    return dict(counts)
