"""`moesaic sweep`: a space of accelerators, searched; the best of them on RTL."""

import argparse
import time
from pathlib import Path

from moesaic.models.errors import InputError
from moesaic.reports.arguments import integer, path
from moesaic.reports.files import check_directory, new_directory

JOBS_LIMIT, VERIFY_LIMIT = 256, 1000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument(
        "space", metavar="SPACE", help="a YAML file, or a sweep from `moesaic list`"
    )
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="where files go")
    who = parser.add_mutually_exclusive_group()
    who.add_argument(
        "--jobs",
        type=integer(1, JOBS_LIMIT),
        default=1,
        metavar="N",
        help="processes of this machine; 1 by default",
    )
    who.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster instead")
    parser.add_argument(
        "--verify",
        type=integer(0, VERIFY_LIMIT),
        default=0,
        metavar="K",
        help="run the K best points and K others on RTL",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the sweep in DIR where it ended"
    )


def execute(options: argparse.Namespace) -> int:
    """Search, verify, write the tables; 1 if RTL differs from what the sweep says."""
    import sys

    from moesaic.sim.sweep.space import load_space
    from moesaic.sim.sweep.store import STORE_FILE

    began = time.perf_counter()
    out: Path = options.out
    space = load_space(options.space)
    kept = (out / STORE_FILE).is_file()
    if options.resume and not kept:
        raise InputError(f"--resume: {out} holds no {STORE_FILE}: there is no sweep to go on with")
    if kept and not options.resume:
        raise InputError(f"--out: {out} holds a sweep: add --resume, or choose another name")
    if not kept:
        check_directory(out, "--out", STORE_FILE)

    from moesaic.reports.sweep_progress import sweep_progress
    from moesaic.reports.sweep_record import print_front, write_sweep
    from moesaic.sim.sweep.run import new_sweep, sweep

    if not kept:
        with new_directory(out) as scratch:
            new_sweep(scratch, space)
    with sweep_progress() as progress:
        result = sweep(
            space,
            out,
            jobs=options.jobs,
            scheduler=options.scheduler,
            count=options.verify,
            progress=progress.points,
            verifying=progress.verifying,
        )
    write_sweep(out, result, command=options.line, seconds=time.perf_counter() - began)
    print_front(result)
    print(f"written to {out}", flush=True)
    failures = [line for record in result.verification for line in record["failures"]]
    if failures:
        print(f"moesaic: comparison failed: {failures[0]}", file=sys.stderr)
    return int(bool(failures))
