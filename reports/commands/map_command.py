"""`moesaic map`: the mapping of a model onto an accelerator, searched and kept as YAML."""

import argparse

from moesaic.reports.arguments import integer, path
from moesaic.reports.files import check_directory, new_directory, write_text
from moesaic.sim.options import BATCH_LIMIT, SEED_LIMIT, TASK_LIMIT

MAPPING_FILE = "mapping.yaml"
BUDGET_LIMIT = 1_000_000
LINES = 20  # of progress, beside those that say what was gained


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("model", metavar="MODEL", help="a name from `moesaic list`, or a directory")
    parser.add_argument("--accel", required=True, metavar="A", help="a preset or a YAML file")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="where it goes")
    parser.add_argument(
        "--budget",
        type=integer(1, BUDGET_LIMIT),
        metavar="N",
        help="mappings that may be evaluated; 400 by default",
    )
    parser.add_argument(
        "--task", type=integer(0, TASK_LIMIT), metavar="K", default=0, help="of models with tasks"
    )
    parser.add_argument(
        "--batch",
        type=integer(1, BATCH_LIMIT),
        default=1,
        metavar="B",
        help="images in one command stream",
    )
    parser.add_argument(
        "--knobs", metavar="A,B", help="what may be chosen, such as tiles,rows; by default all"
    )
    parser.add_argument(
        "--start", type=path, metavar="FILE.yaml", help="mapping to begin with and be compared with"
    )
    parser.add_argument(
        "--seed",
        type=integer(0, SEED_LIMIT),
        default=0,
        metavar="S",
        help="of the changes at random; images are those of seed 0",
    )


def execute(options: argparse.Namespace) -> int:
    """Search, write the mapping and say what it gains."""
    from moesaic.dataflow.mapping_file import read_mapping
    from moesaic.dataflow.mapping_space import SEARCHED
    from moesaic.dataflow.options import STANDARD
    from moesaic.reports.progress import counted_progress
    from moesaic.sim.mapping import BUDGET, MappingRequest, find_mapping

    request = MappingRequest(
        model=options.model,
        accel=options.accel,
        task=options.task,
        batch=options.batch,
        budget=options.budget or BUDGET,
        seed=options.seed,
        knobs=tuple(options.knobs.split(",")) if options.knobs else SEARCHED,
        start=read_mapping(options.start) if options.start else STANDARD,
    )
    check_directory(options.out, "--out", MAPPING_FILE)
    with counted_progress("mapping") as counter:
        shown = 0

        def show(tried: int, budget: int, cycles: int) -> None:
            nonlocal shown
            if counter.bars is not None or tried * LINES // budget > shown:
                shown = tried * LINES // budget
                counter.show(tried, budget, f"{cycles:,} cycles")

        result = find_mapping(request, show)
    with new_directory(options.out) as scratch:
        write_text(scratch / MAPPING_FILE, result.text)
    found = result.found
    gain = 1 - found.cycles / found.start_cycles
    how = "all there are" if found.every else "a search"
    which = "the mapping of --start" if options.start else "the mapper's own choices"
    print(f"cycles with {which}: {found.start_cycles:,}")
    print(f"cycles with the mapping found: {found.cycles:,}, {gain:.1%} fewer")
    known = ", known from an earlier run" if result.known else ""
    print(f"mappings tried: {found.tried:,} ({how}){known}")
    print(f"written to {options.out / MAPPING_FILE}", flush=True)
    return 0
