"""Units to C++: headers, sources, testbench, vectors and scripts as texts by file name."""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from moesaic.hls_templates.numerics import NUMERICS, constants
from moesaic.hls_templates.unit import Unit, Vectors

TEMPLATES = Path(__file__).parent / "templates"
VECTORS = "vectors"


def headers() -> dict[str, str]:
    """Return the headers that units share, by file name."""
    return {
        f"{name}.h": _environment().get_template(f"numerics/{name}.h.j2").render(**constants(name))
        for name in NUMERICS
    }


def unit_files(unit: Unit) -> dict[str, str]:
    """Return a unit's header and source, and what they include of its own: parts, weights."""
    files: dict[str, str] = {}
    for part in unit.parts:
        files |= {name: text for name, text in unit_files(part).items() if name.endswith(".h")}
    variables = unit.constants() | {"name": unit.name, "kind": unit.kind}
    header = _environment().get_template(f"units/{unit.kind}.h.j2").make_module(variables)
    source = _environment().get_template(f"units/{unit.kind}.cpp.j2")
    includes = [*unit.needs, *(part.name for part in unit.parts)]
    includes += [name.removesuffix(".h") for name in unit.files()]
    signature = str(getattr(header, "signature", "")).strip("\n")
    wrapped = {
        f"{unit.name}.h": {"body": str(header), "includes": includes},
        f"{unit.name}.cpp": {"body": source.render(variables | {"signature": signature})},
    }
    for name, inside in wrapped.items():
        wrapper = _environment().get_template(f"package/unit{Path(name).suffix}.j2")
        files[name] = wrapper.render(variables | {"models": unit.models} | inside)
    return files | unit.files()


def testbench(units: Sequence[Unit], vectors: Sequence[Vectors]) -> str:
    """Return the program that runs `units` on files of their vectors."""
    described = [
        {
            "name": unit.name,
            "inputs": cases.inputs.shape[1],
            "outputs": cases.outputs.shape[1],
            "ports": cases.ports,
        }
        for unit, cases in zip(units, vectors, strict=True)
    ]
    return _environment().get_template("package/testbench.cpp.j2").render(units=described)


def vector_text(vectors: Vectors) -> str:
    """Return a file of vectors: cases, words of inputs and outputs; then a line each."""
    inputs, outputs = vectors.inputs, vectors.outputs
    lines = [f"{len(inputs)} {inputs.shape[1]} {outputs.shape[1]}"]
    for pair in zip(inputs.tolist(), outputs.tolist(), strict=True):
        lines += [" ".join(map(str, row)) for row in pair]
    return "\n".join([*lines, ""])


def package(unit: Unit, seed: int = 0) -> dict[str, str]:
    """Return everything that a user compiles: texts by path in the package."""
    return programme([unit], seed) | {
        name: _environment().get_template(f"package/{name}.j2").render(name=unit.name)
        for name in ("Makefile", "csim.tcl")
    }


def programme(units: Sequence[Unit], seed: int = 0) -> dict[str, str]:
    """Return the files of one testbench for several units."""
    files = headers() | {"bench.h": _environment().get_template("package/bench.h.j2").render()}
    vectors = [unit.vectors(seed) for unit in units]
    for unit, cases in zip(units, vectors, strict=True):
        files |= unit_files(unit)
        files[f"{VECTORS}/{unit.name}.txt"] = vector_text(cases)
    return files | {"testbench.cpp": testbench(units, vectors)}


@cache
def _environment() -> Any:
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 # C++ is no HTML
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
