"""`moesaic ablate`: one technique of the accelerator left out at a time."""

import argparse

from moesaic.reports.arguments import integer, path
from moesaic.reports.files import check_directory, check_file, new_directory, write_json
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
    parser.add_argument(
        "--no-synth", action="store_true", help="without the resources of each row's machine"
    )
    parser.add_argument("--json", type=path, metavar="FILE", help="all figures")
    parser.add_argument(
        "--out", type=path, metavar="DIR", help="by default runs/ablation-MODEL-ACCEL[-taskK]"
    )


def execute(options: argparse.Namespace) -> int:
    """Run all rows, write table and page; 1 if a row differs from its prediction or its model."""
    import sys

    from moesaic.models.accel_io import load_accel
    from moesaic.reports.ablation_record import ABLATION_FILE, load_ablation
    from moesaic.reports.commands.run_command import default_directory
    from moesaic.sim.options import RunOptions

    asked = RunOptions(
        model=options.model,
        accel=options.accel,
        backend=options.backend,
        task=options.task,
        seed=options.seed,
    )
    check_file(options.json, "--json")
    plain = default_directory(options.model, load_accel(options.accel).name, options.task)
    out = options.out or plain.with_name(f"ablation-{plain.name}")
    check_directory(out, "--out", ABLATION_FILE)

    from moesaic.reports.ablation import ablate, table
    from moesaic.reports.bandwidth import measure_bandwidth
    from moesaic.reports.html import build_report
    from moesaic.reports.progress import counted_progress

    with counted_progress("row") as counter:
        result = ablate(asked, counter.show, resources=not options.no_synth)
    result |= {"bandwidth": [], "command": options.line}
    if asked.rtl:
        with counted_progress("machine") as counter:
            result["bandwidth"] = measure_bandwidth(asked, counter.show)
    print(table(result))
    with new_directory(out) as scratch:
        write_json(scratch / ABLATION_FILE, result)
    if options.json:
        write_json(options.json, result)
    print(f"report: {build_report(out)}", flush=True)
    failures = load_ablation(out).failures
    if failures:
        print(f"moesaic: comparison failed: {failures[0]}", file=sys.stderr)
    return int(bool(failures))
