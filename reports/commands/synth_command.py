"""`moesaic synth`: what an accelerator takes on a target, and whether it fits."""

import argparse
from typing import Any

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
    from moesaic.models.accel_io import load_integer_accel

    spec = load_integer_accel(options.accel)
    check_file(options.json, "--json")

    from moesaic.reports.progress import counted_progress
    from moesaic.reports.synth import synthesise

    with counted_progress("module") as counter:
        result = synthesise(spec, options.target, pnr=options.pnr, progress=counter.show)
    print_resources(result)
    if options.json:
        write_json(options.json, result)
    return 0


def print_resources(result: dict[str, Any]) -> None:
    """Print totals beside what the part offers, and the method."""
    print(f"  {'accelerator':<11}  {result['accel']} on {result['target']}, part {result['part']}")
    for name, used in result["totals"].items():
        limit = result["limits"].get(name)
        share = "" if limit is None else f" of {limit:,}, {used / limit:.1%}"
        room = "" if limit is None or result["fits"][name] else ": DOES NOT FIT"
        print(f"  {name:<11}  {used:,}{share}{room}")
    print(f"  {'method':<11}  {result['method']}")
