"""`moesaic ablate`: one technique of the accelerator left out at a time."""

import argparse

from moesaic.reports.arguments import integer, path
from moesaic.reports.files import check_file, write_json
from moesaic.sim.options import SEED_LIMIT, TASK_LIMIT

BACKENDS = ("model", "both")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a name from `moesaic list`, or a directory")
    parser.add_argument("--accel", required=True, metavar="A", help="a preset or a YAML file")
    parser.add_argument("--backend", choices=BACKENDS, default="both", help="with or without RTL")
    parser.add_argument(
        "--task", type=integer(0, TASK_LIMIT), metavar="K", default=0, help="of models with tasks"
    )
    parser.add_argument("--seed", type=integer(0, SEED_LIMIT), metavar="S", default=0)
    parser.add_argument("--json", type=path, metavar="FILE", help="all figures")


def execute(options: argparse.Namespace) -> int:
    """Run all rows and print their table; 1 if a row differs from its prediction or its model."""
    check_file(options.json, "--json")

    from moesaic.reports.ablation import ablate, table
    from moesaic.reports.progress import counted_progress
    from moesaic.sim.options import RunOptions

    asked = RunOptions(
        model=options.model,
        accel=options.accel,
        backend=options.backend,
        task=options.task,
        seed=options.seed,
    )
    with counted_progress("row") as counter:
        result = ablate(asked, counter.show)
    print(table(result))
    if options.json:
        write_json(options.json, result)
    return int(any(row["failures"] for row in result["rows"]))
