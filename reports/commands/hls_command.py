"""`moesaic hls`: a unit as C++ for high-level synthesis, with a testbench and vectors."""

import argparse

from moesaic.models.errors import InputError
from moesaic.reports.arguments import integer, path
from moesaic.reports.files import check_directory, new_directory

MARKER = "testbench.cpp"
BLOCK = "block"
KINDS = ("requantise", "product", "softmax", "gelu", "layernorm", "gate", "attention", "select")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("unit", metavar="UNIT", help=f"{', '.join(KINDS)} or {BLOCK}")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="where files go")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of the unit, such as data_bits=16 or nm=2:8; may be given again",
    )
    parser.add_argument("--model", metavar="MODEL", help="the network of a block")
    parser.add_argument("--seed", type=integer(0, 2**31 - 1), default=0, metavar="S")
    parser.add_argument(
        "--check", action="store_true", help="compile with g++ and compare with the model"
    )


def execute(options: argparse.Namespace) -> int:
    """Write the files; with ``--check`` run the testbench too."""
    from moesaic.hls_templates.catalogue import block_of, unit_of
    from moesaic.hls_templates.render import package
    from moesaic.hls_templates.unit import Unit
    from moesaic.sim.csim import PROGRAM, compile_units, run_units, write_files

    if options.unit not in (*KINDS, BLOCK):
        raise InputError(
            f"UNIT must be one of {', '.join(KINDS)}, {BLOCK}, not {options.unit!r:.60}"
        )
    if (options.unit == BLOCK) != (options.model is not None):
        raise InputError(f"--model must be given with the unit {BLOCK}, and with no other")
    check_directory(options.out, "--out", MARKER)
    unit: Unit
    if options.unit == BLOCK:
        unit = block_of(options.model, options.set, seed=options.seed)
    else:
        unit = unit_of(options.unit, options.set)
    equal, said = True, [f"not compared: --check does, or `make` in {options.out}"]
    with new_directory(options.out) as folder:
        write_files(package(unit, options.seed), folder)
        if options.check:
            outcome = run_units(compile_units(folder))
            equal, said = outcome.equal, list(outcome.lines)
            (folder / PROGRAM).unlink()
    print("\n".join(said))
    print(f"written to {options.out}; the top is {unit.name}_top")
    return 0 if equal else 1
