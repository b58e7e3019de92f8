"""Verilog out of Amaranth: hierarchical, deterministic and free of escaped identifiers."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import Fragment
from amaranth.hdl._ast import SignalDict
from amaranth.hdl._ir import PortDirection, build_netlist
from amaranth.hdl._nir import Instance
from amaranth.lib.wiring import Component

Ports = Mapping[str, tuple[object, PortDirection]]
"""Ports by name, as Amaranth's converters take them; None stands for the signature's members."""

PASSES = (
    "proc; opt_expr; opt_clean -purge; opt_merge; opt_dff; pmuxtree; wreduce; opt_expr; opt_merge; "
    "memory_collect; opt_clean -purge; rename -unescape"
)
"""From processes to expressions, enables and resets; the attribute ``keep`` saves an alias."""

PASSES_WITH_BRANCHES = (
    "proc -nomux -norom; opt_expr; memory_collect; opt_clean -purge; rename -unescape"
)
"""The same without multiplexers, so that coverage sees every branch of an ``m.If``."""

RESERVED_TEXT = """
alias always and assert assign assume automatic before begin bind bit break buf byte case  cell
chandle checker class clocking config const constraint context continue cover cross deassign
default design disable dist do edge else end enum event expect export extends extern final  for
force forever fork function generate global if iff implements import include initial  inout input
inside instance int integer interface join large let liblist library local logic  longint
macromodule matches medium modport module nand negedge new nor not null or output  package packed
parameter posedge primitive priority program property protected pull0 pull1  pure rand randc real
realtime ref reg release repeat restrict return sample scalared sequence  shortint shortreal
signed small soft solve specify static string strong strong0 strong1  struct super supply0 supply1
sync table tagged task this time tran tri type typedef union  unique unique0 unsigned until
untyped use uwire var vectored virtual void wait wand weak  while wildcard wire with within wor
xnor xor
"""
RESERVED = frozenset(RESERVED_TEXT.split())
"""Words of SystemVerilog that a net might well be called."""

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
MEMORY = re.compile(r"^  reg (\[\d+:0\] )?(\w+) \[(\d+):0\];\n(?!  initial begin)", re.MULTILINE)


class EmitError(RuntimeError):
    """Yosys refused a design; the message is the end of its log."""


class _Emitter(rtlil.ModuleEmitter):
    """Leave out the contents of memories that start at zero: a scratchpad has millions of bits."""

    def emit_memory(self, cell_idx: int, cell: Any) -> None:
        if any(cell.init):
            super().emit_memory(cell_idx, cell)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Elaborated:
    """One design: its RTLIL, the widths of its ports, and the instances that it places."""

    name: str
    text: str
    inputs: dict[str, int]
    outputs: dict[str, int]
    instances: tuple[Instance, ...]


def to_rtlil(component: Component, *, name: str, ports: Ports | None = None) -> str:
    """Convert a component to RTLIL without source locations.

    Memories that start at zero come without contents; :func:`to_verilog` writes those as a loop.

    Parameters
    ----------
    component : Component
        The design; elaborated here.
    name : str
        Name of the top module and prefix of all others: ``top.a.b`` becomes ``top_a_b``.
    ports : Ports, optional
        Ports by name; the members of the component's signature by default.

    Raises
    ------
    ValueError
        If `name` is no plain identifier, or if two modules end with the same name.
    """
    return _elaborate(component, name, ports).text


def _plain_nets(text: str) -> str:
    """Make nets plain identifiers: no dollar signs, no word that SystemVerilog reserves.

    Yosys would otherwise rename a module's ports but not the connections of its instances.
    """

    def plain(match: re.Match[str]) -> str:
        name = match[1].replace("$", "_n")
        return f"\\{name}_" if name in RESERVED else f"\\{name}"

    return re.sub(r"\\(?!\$)([^\s\\]+)", plain, text)


def to_verilog(
    component: Component,
    *,
    name: str,
    extra: Sequence[tuple[str, Component]] = (),
    ports: Ports | None = None,
    branches: bool = False,
) -> str:
    """Convert a component to SystemVerilog: same design, same bytes.

    Parameters
    ----------
    component : Component
        The top of the design.
    name : str
        Name of the top module.
    extra : sequence of (str, Component)
        Modules elaborated once that `component`, or another of these, places by
        ``Instance(name, ...)``. Each has ``clk`` and ``rst`` ports if it is clocked.
    ports : Ports, optional
        Ports of the top; the members of its signature by default.
    branches : bool
        Keep the branches of ``m.If`` and ``m.Switch`` for coverage, at the cost of longer text.

    Raises
    ------
    ValueError
        If two modules have the same name.
    EmitError
        If an instance names no module, leaves an input open or connects a port by another width
        than it has (``Const(-1)`` is one bit wide), or if Yosys refuses the design.
    """
    designs = [_elaborate(component, name, ports)]
    designs += [_elaborate(part, part_name, None) for part_name, part in extra]
    text = _plain_nets("\n".join(design.text for design in designs))
    _refuse_duplicates(re.findall(r"^module \\(\S+)", text, re.MULTILINE))
    modules = {design.name: design for design in designs}
    for design in designs:
        for instance in design.instances:
            _check_instance(instance, modules)
    passes = PASSES_WITH_BRANCHES if branches else PASSES
    return _clear_memories(_run_yosys(text, f"hierarchy -check -top {name}; {passes}"))


def _elaborate(component: Component, name: str, ports: Ports | None) -> _Elaborated:
    if not IDENTIFIER.fullmatch(name):
        raise ValueError(f"a module's name must be a plain identifier, not {name!r}")
    if ports is None:
        ports = _signature_ports(component)
    netlist = build_netlist(Fragment.get(component, None), ports=ports, name=name)
    empty = rtlil.EmptyModuleChecker(netlist)
    builder = rtlil.Design(emit_src=False)
    names = []
    for index, module in enumerate(netlist.modules):
        if not empty.is_empty(index):
            names.append(".".join(module.name))
            text = builder.module(names[-1])
            _Emitter(text, netlist, module, SignalDict(), empty_checker=empty).emit()
    return _Elaborated(
        name=name,
        text=_rename_modules(str(builder), names),
        inputs={port: width for port, (_, width) in netlist.top.ports_i.items()},
        outputs={port: len(value) for port, value in netlist.top.ports_o.items()},
        instances=tuple(cell for cell in netlist.cells if isinstance(cell, Instance)),
    )


def _check_instance(instance: Instance, modules: Mapping[str, _Elaborated]) -> None:
    """Refuse what Yosys would mend in silence: it extends a connected constant with zeros."""
    if instance.type not in modules:
        raise EmitError(f"instance {instance.name} names no module: {instance.type}")
    module = modules[instance.type]
    inputs = {port: len(value) for port, value in instance.ports_i.items()}
    outputs = {port: width for port, (_, width) in instance.ports_o.items()}
    for port in module.inputs:
        if port not in inputs:
            raise EmitError(f"instance {instance.name} leaves input {port} of {module.name} open")
    for port, width in [*inputs.items(), *outputs.items()]:
        known = (module.inputs if port in inputs else module.outputs).get(port)
        if known != width:
            raise EmitError(
                f"instance {instance.name} connects {width} bits to port {port} of {module.name}, "
                f"which has {known or 'no such port'}"
            )


def _signature_ports(component: Component) -> Ports:
    ports = {}
    for path, member, value in component.signature.flatten(component):
        direction = PortDirection.Input if member.flow.name == "In" else PortDirection.Output
        bits = value.as_value() if hasattr(value, "as_value") else value
        ports["__".join(map(str, path))] = (bits, direction)
    return ports


def _rename_modules(text: str, names: list[str]) -> str:
    plain = {old: re.sub(r"\W", "_", old) for old in names}
    _refuse_duplicates(plain.values())

    def rename(match: re.Match[str]) -> str:
        return match[1] + plain.get(match[2], match[2])

    return re.sub(r"^(module \\|  cell \\)(\S+)", rename, text, flags=re.MULTILINE)


def _refuse_duplicates(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ValueError(f"two modules have the name {name!r}")
        seen.add(name)


def _run_yosys(design: str, passes: str) -> str:
    """Run Yosys in a process of its own, since its errors end the process."""
    with tempfile.TemporaryDirectory() as folder:
        source, result = Path(folder, "design.il"), Path(folder, "design.sv")
        source.write_text(design)
        command = f"read_rtlil {source}; {passes}; write_verilog -sv -noattr -simple-lhs {result}"
        script = "from pyosys import libyosys as y; import sys\n"
        script += "design = y.Design()\n[y.run_pass(p, design) for p in sys.argv[1].split(';')]"
        run = subprocess.run(
            [sys.executable, "-c", script, command], capture_output=True, text=True, check=False
        )
        if run.returncode or not result.exists():
            tail = "\n".join((run.stdout + run.stderr).strip().splitlines()[-5:])
            raise EmitError(tail.replace(folder, ""))
        # The first line names Yosys's compiler.
        return result.read_text().partition("\n")[2].lstrip()


def _clear_memories(verilog: str) -> str:
    """Write the zeros of each memory that came without contents as a loop."""

    def clear(match: re.Match[str]) -> str:
        loop = f"for (int i = 0; i <= {match[3]}; i = i + 1)"
        return f"{match[0]}  initial {loop} {match[2]}[i] = '0;\n"

    return MEMORY.sub(clear, verilog)
