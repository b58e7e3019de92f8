"""What each module of an accelerator takes, by the name of its Component; every result is kept.

`moesaic synth` keeps whole batches of modules. Here each is kept by itself, with its submodules as
boxes, so that machines that differ in one parameter share nearly all of their modules.
"""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from moesaic.models.accel import AccelSpec
from moesaic.reports.synth_cells import Amounts, amounts
from moesaic.reports.synth_modules import INSTANCE, MODULE, Module, batches, named_modules
from moesaic.reports.synth_yosys import (
    MUXF7,
    SCRIPTS,
    WIDE,
    WIDE_MODULES,
    keep,
    synthesise_batch,
)
from moesaic.sim.build import cache_directory
from moesaic.sim.verilog_cache import cached_verilog

TOP = "moesaic_top"
BATCH = 60_000  # characters of Verilog for one run of Yosys
NUMBER = re.compile(r"_?[0-9]+(?=_|$)")
PORTS = re.compile(r"^  (?:input|output|inout) .*$", re.MULTILINE)

Kinds = dict[str, tuple[int, Amounts]]
"""Placements and the resources of one placement, by kind of module."""


@dataclass(slots=True)
class Meter:
    """Measures one machine after another.

    Parameters
    ----------
    target : str
        ``xcup`` or ``ecp5``.
    log : callable, optional
        Told what is being synthesised.
    """

    target: str
    log: Callable[[str], None] = lambda _: None
    seconds: float = 0.0
    found: dict[str, dict[str, int]] = field(default_factory=dict)

    def measure(self, spec: AccelSpec) -> Kinds:
        """Return what each kind of module takes in a machine."""
        text = cached_verilog(spec)
        modules, names = named_modules(text)
        keys = {name: self._key(module, modules) for name, module in modules.items()}
        new: dict[str, Module] = {}
        for name, key in keys.items():
            if key not in self.found and not self._read(key):
                new.setdefault(key, modules[name])
        for batch in batches(new.values(), BATCH) if new else ():
            self.log(f"{spec.name}: {', '.join(module.name for module in batch)}")
            synthesised, seconds = synthesise_batch(batch, modules, self.target)
            self.seconds += seconds
            self.log(f"    {seconds:.0f} s")
            for name, by_type in synthesised.items():
                keep(self._path(keys[name]), {"cells": by_type})
                self.found[keys[name]] = by_type
        out: Kinds = {}
        for name, count in _placements(text).items():
            cells = self.found[keys[names[name]]]
            kind = kind_of(name, separate=spec.arrays == "separate")
            used = amounts(cells, self.target)
            if kind in out and out[kind][1] != used:
                raise ValueError(f"two kinds of module are called {kind}")
            places = out[kind][0] if kind in out else 0
            out[kind] = (places + count, used)
        return out

    def _key(self, module: Module, modules: Mapping[str, Module]) -> str:
        """Name a module by its text and the ports of what it places."""

        def ports(match: re.Match[str]) -> str:
            child = modules.get(match[1])
            return match[0] if child is None else f"({PORTS.findall(child.text)}) {match[2]} ("

        wide = module.name in WIDE_MODULES
        body = INSTANCE.sub(ports, module.text.replace(f"module {module.name}(", "module (", 1))
        inputs = [body, SCRIPTS[self.target], *([WIDE, MUXF7] if wide else []), version("pyosys")]
        return hashlib.sha256(json.dumps(inputs).encode()).hexdigest()[:24]

    def _path(self, key: str) -> Path:
        return cache_directory() / "modules" / f"{key}.json"

    def _read(self, key: str) -> bool:
        path = self._path(key)
        if path.exists():
            self.found[key] = json.loads(path.read_text())["cells"]
        return path.exists()


def kind_of(name: str, *, separate: bool) -> str:
    """Return what a module is called but for its number: ``moesaic_vector_write_340_walk``.

    Where arrays are separate, each is an ``array`` and what holds them is ``separate``.
    """
    plain = re.sub(r"(exp|log)2(?=_|$)", r"\1two", name.removeprefix("moesaic_"))
    plain = NUMBER.sub("", plain)
    if separate:
        plain = "separate" if plain == "array" else plain.replace("one_array", "array")
    return plain


def _placements(text: str) -> dict[str, int]:
    """Return how often each module of the text is placed, by the name that it has there."""
    counts: Counter[str] = Counter({TOP: 1})
    texts = {match[1]: match[0] for match in MODULE.finditer(text)}
    children = {
        name: [match[1] for match in INSTANCE.finditer(body) if match[1] in texts]
        for name, body in texts.items()
    }
    order: dict[str, None] = {}

    def visit(name: str) -> None:
        if name not in order:
            for child in children[name]:
                visit(child)
            order[name] = None

    visit(TOP)
    for name in reversed(order):  # parents before children
        for child in children[name]:
            counts[child] += counts[name]
    return dict(counts)
