"""`moesaic synth`: what an accelerator takes on a target, and how fast it gets."""

import argparse
from importlib import import_module
from importlib.util import find_spec

from moesaic.models.errors import InputError
from moesaic.reports.arguments import path
from moesaic.reports.files import check_file, write_json

TARGETS = ("xcup", "ecp5")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--accel", required=True, metavar="A", help="a preset or a YAML file")
    parser.add_argument("--target", required=True, choices=TARGETS, help="the family of parts")
    parser.add_argument("--pnr", action="store_true", help="place and route too, where possible")
    parser.add_argument("--json", type=path, metavar="FILE", help="all figures")


def execute(options: argparse.Namespace) -> int:
    """Synthesise and print the figures."""
    from moesaic.models.accel_io import load_accel

    spec = load_accel(options.accel)
    check_file(options.json, "--json")

    if find_spec("moesaic.reports.synth") is None:
        raise InputError("synth: synthesis is not part of this version")
    synth = import_module("moesaic.reports.synth")
    result = synth.synthesise(spec, options.target, **({"pnr": True} if options.pnr else {}))
    for name, value in result.items():
        print(f"  {name:<16}  {value}")
    if options.json:
        write_json(options.json, result)
    return 0
