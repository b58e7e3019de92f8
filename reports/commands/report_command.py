"""`moesaic report`: the HTML report of a run, a training run, a training step or an ablation."""

import argparse

from moesaic.models.errors import InputError
from moesaic.reports.arguments import path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    what = "what `moesaic run`, `train`, `step` or `ablate` wrote"
    parser.add_argument("directory", type=path, metavar="DIR", help=what)


def execute(options: argparse.Namespace) -> int:
    """Build the report and print where it lies."""
    from moesaic.reports.html import build_report

    if not options.directory.is_dir():
        raise InputError(f"{options.directory}: must be the directory of a run, is none")
    print(f"report: {build_report(options.directory)}")
    return 0
