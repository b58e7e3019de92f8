"""`moesaic run`: a model on an accelerator, predicted and simulated."""

import argparse
import re
from pathlib import Path
from typing import Any

from moesaic.reports.arguments import integer, number, path
from moesaic.reports.files import check_directory, check_file, new_directory, write_json
from moesaic.sim.options import BACKENDS, BATCH_LIMIT, SEED_LIMIT, STALL_LIMIT, TASK_LIMIT

RUN_FILE, ACCEL_FILE, TRACE_FILE = "run.json", "accel.yaml", "trace.json"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a name from `moesaic list`, or a directory")
    parser.add_argument("--accel", required=True, metavar="A", help="a preset or a YAML file")
    parser.add_argument(
        "--backend", choices=BACKENDS, default="both", help="model: predict only, without RTL"
    )
    parser.add_argument(
        "--images", type=integer(1, SEED_LIMIT), metavar="N", help="how many; one batch by default"
    )
    parser.add_argument("--input", type=path, metavar="FILE.npy", help="images from a file instead")
    parser.add_argument(
        "--batch",
        type=integer(1, BATCH_LIMIT),
        default=1,
        metavar="B",
        help="images in one command stream",
    )
    parser.add_argument(
        "--task", type=integer(0, TASK_LIMIT), metavar="K", default=0, help="of models with tasks"
    )
    parser.add_argument(
        "--mapping", type=path, metavar="FILE.yaml", help="from `moesaic map`, or edited"
    )
    parser.add_argument(
        "--seed",
        type=integer(0, SEED_LIMIT),
        default=0,
        metavar="S",
        help="of made-up images and of stalls",
    )
    parser.add_argument(
        "--stall",
        type=number(0, STALL_LIMIT),
        default=0.0,
        metavar="P",
        help="chance of random stalls in the RTL's memory; results stay, cycles do not",
    )
    parser.add_argument("--json", type=path, metavar="FILE", help="all figures")
    parser.add_argument("--trace", type=path, metavar="FILE", help="Chrome trace events")
    parser.add_argument("--waves", type=path, metavar="FILE.vcd|FILE.fst", help="the RTL's signals")
    parser.add_argument(
        "--out", type=path, metavar="DIR", help="run directory, by default runs/MODEL-ACCEL[-taskK]"
    )


def execute(options: argparse.Namespace) -> int:
    """Run, write what was asked for, and print the summary."""
    from moesaic.dataflow.mapping_file import read_mapping
    from moesaic.dataflow.options import STANDARD
    from moesaic.models.accel_io import load_integer_accel
    from moesaic.sim.options import RunOptions

    asked = RunOptions(
        model=options.model,
        accel=options.accel,
        backend=options.backend,
        images=options.images,
        input_file=options.input,
        batch=options.batch,
        task=options.task,
        seed=options.seed,
        stall=options.stall,
        waves_file=options.waves,
        mapping=read_mapping(options.mapping) if options.mapping else STANDARD,
    )
    for name in ("json", "trace", "waves"):
        check_file(getattr(options, name), f"--{name}")
    accel = load_integer_accel(options.accel).name
    out = options.out or default_directory(options.model, accel, options.task)
    check_directory(out, "--out", RUN_FILE)

    from moesaic.reports.progress import stage_progress
    from moesaic.sim.experiment import run

    with stage_progress() as progress:
        result = run(asked, progress)
    content = result.to_json() | {"command": options.line}
    write_run(out, content)
    if options.json:
        write_json(options.json, content)
    if options.trace:
        from moesaic.reports.trace import trace_events

        write_json(options.trace, trace_events(content))
    return conclude(content, out)


def default_directory(model: str, accel: str, task: int = 0) -> Path:
    """Return where a run is kept unless said otherwise; the first task's is the model's own."""
    plain = re.sub(r"[^A-Za-z0-9_-]+", "-", Path(model).name).strip("-")[:64] or "model"
    return Path("runs", f"{plain}-{accel}" + (f"-task{task}" if task else ""))


def write_run(folder: Path, content: dict[str, Any]) -> None:
    """Write a run's directory at once."""
    with new_directory(folder) as scratch:
        write_json(scratch / RUN_FILE, content)


def conclude(content: dict[str, Any], out: Path) -> int:
    """Print the summary; say on stderr what differs and return the exit code."""
    import sys

    from moesaic.reports.summary import print_summary

    print_summary(content)
    print(f"written to {out}", flush=True)
    if content["failures"]:
        print(f"moesaic: comparison failed: {content['failures'][0]}", file=sys.stderr)
        return 1
    return 0
