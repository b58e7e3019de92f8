"""`moesaic report`: the page of a run, a training run, a step, an ablation or a sweep."""

import argparse

from moesaic.models.errors import InputError
from moesaic.reports.arguments import path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    what = "what `moesaic run`, `train`, `step`, `ablate` or `sweep` wrote"
    parser.add_argument("directory", type=path, metavar="DIR", help=what)
    parser.add_argument(
        "--figures",
        action="store_true",
        help="write each plot of a sweep into DIR/figures too, as SVG and PNG",
    )


def execute(options: argparse.Namespace) -> int:
    """Build the report and print where it lies."""
    from moesaic.reports.html import build_report
    from moesaic.reports.sweep_record import JSON_FILE

    if not options.directory.is_dir():
        raise InputError(f"{options.directory}: must be the directory of a run, is none")
    if options.figures and not (options.directory / JSON_FILE).is_file():
        raise InputError(f"--figures: {options.directory} holds no {JSON_FILE} to make plots of")
    print(f"report: {build_report(options.directory)}")
    if options.figures:
        from moesaic.reports.sweep_plots import write_figures
        from moesaic.reports.sweep_read import load_sweep

        paths = write_figures(options.directory, load_sweep(options.directory))
        print(f"figures: {len(paths)} files in {paths[0].parent}")
    return 0
