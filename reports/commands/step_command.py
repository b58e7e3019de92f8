"""`moesaic step`: a training step on an accelerator, predicted and simulated."""

import argparse
import sys

from moesaic.models.accel import NM
from moesaic.models.errors import InputError
from moesaic.reports.arguments import integer, number, path
from moesaic.reports.files import check_directory, check_file, new_directory, write_json
from moesaic.sim.options import BACKENDS, BATCH_LIMIT, SEED_LIMIT, STALL_LIMIT

METHODS = ("dense", "srste", "sdgp", "sdwp", "bdwp")
OPTIMISERS = ("sgd", "adam")
STEP_LIMIT = 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a name from `moesaic list`, or a directory")
    parser.add_argument("--accel", required=True, metavar="A", help="a preset or a YAML file")
    parser.add_argument("--method", choices=METHODS, default="dense", help="what is pruned")
    parser.add_argument("--nm", metavar="N:M", help="of sparse methods, such as 2:8")
    parser.add_argument("--batch", type=integer(1, BATCH_LIMIT), default=8, metavar="B")
    parser.add_argument("--backend", choices=BACKENDS, default="both", help="model: without RTL")
    parser.add_argument(
        "--steps", type=integer(1, STEP_LIMIT), default=1, metavar="N", help="steps in a row"
    )
    parser.add_argument("--seed", type=integer(0, SEED_LIMIT), default=0, metavar="S")
    parser.add_argument("--stall", type=number(0, STALL_LIMIT), default=0.0, metavar="P")
    parser.add_argument("--decay", type=number(0, 1), default=0.0, help="of pruned weights")
    parser.add_argument(
        "--update", choices=("2:4",), help="of bdwp: prune the gradient for the weights' product"
    )
    parser.add_argument(
        "--optimiser", choices=OPTIMISERS, default="sgd", help="sgd: with momentum 0.9"
    )
    parser.add_argument(
        "--rate", type=number(0, 1), metavar="R", help="of learning: 0.05 of sgd, 0.001 of adam"
    )
    parser.add_argument(
        "--weight-decay", type=number(0, 1), default=5e-4, metavar="W", help="of all matrices"
    )
    parser.add_argument("--json", type=path, metavar="FILE", help="all figures")
    parser.add_argument(
        "--out", type=path, metavar="DIR", help="directory for all figures and their page"
    )


def execute(options: argparse.Namespace) -> int:
    """Run and print the summary; 1 if something differs."""
    from moesaic.reports.step_record import STEP_FILE

    check_file(options.json, "--json")
    if options.out:
        check_directory(options.out, "--out", STEP_FILE)

    from moesaic.models.training.method import Method
    from moesaic.models.training.optimiser import RATES, Optimiser
    from moesaic.sim.training.experiment import StepOptions, run_steps

    sparse = options.method != "dense"
    if sparse and options.nm is None:
        raise InputError(f"--nm must be given for --method {options.method}, such as 2:8")
    method = Method(
        name=options.method,
        nm=NM.parse(options.nm) if sparse else None,  # a dense step has none
        decay=options.decay,
        update=NM.parse(options.update) if options.update else None,
    )
    asked = StepOptions(
        model=options.model,
        accel=options.accel,
        method=method,
        batch=options.batch,
        backend=options.backend,
        steps=options.steps,
        seed=options.seed,
        stall=options.stall,
        optimiser=Optimiser(
            kind=options.optimiser,
            rate=RATES[options.optimiser] if options.rate is None else options.rate,
            decay=options.weight_decay,
        ),
    )
    result = run_steps(asked, lambda text: print(text, flush=True))
    content = result.to_json() | {"command": options.line}
    if options.json:
        write_json(options.json, content)
    if options.out:
        from moesaic.reports.html import build_report

        with new_directory(options.out) as scratch:
            write_json(scratch / STEP_FILE, content)
            page = options.out / build_report(scratch).name

    from moesaic.reports.step_summary import step_summary

    print(step_summary(content))
    if options.out:
        print(f"report: {page}", flush=True)
    if content["failures"]:
        print(f"moesaic: comparison failed: {content['failures'][0]}", file=sys.stderr)
        return 1
    return 0
