"""Number formats side by side: SQNR of each layer against float64.

``python -m moesaic.reports.formats m3vit-tiny`` prints, for a model of the zoo, W16A32 (the formats
of Edge-MoE), W16A16 and W8A8; ``--stream`` only the residual stream and the gates.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

from moesaic.models.errors import InputError
from moesaic.models.format_table import FORMATS, FormatRow, sqnr_table
from moesaic.models.zoo import load_model
from moesaic.reports.figures import NONE

STREAM = ("Embed", "Add", "Gate", "Select")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 for what a user got wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m moesaic.reports.formats", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("model", help="a model of the zoo, or a directory of `import` or `train`")
    parser.add_argument("--task", type=int, default=0)
    parser.add_argument("--images", type=int, default=1)
    parser.add_argument("--stream", action="store_true", help="residual stream and gates only")
    options = parser.parse_args(arguments)
    try:
        model = load_model(options.model, options.task)
        images, _ = model.images(options.images, 0)
        rows = sqnr_table(model.network, images, calibration=model.calibration)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(format_lines(rows, stream=options.stream)))
    return 0


def format_lines(rows: Sequence[FormatRow], *, stream: bool = False) -> Iterator[str]:
    """Yield the table in Markdown, then counts of wraps, saturations and tokens rerouted."""
    yield f"| layer | kind | {' | '.join(f'{name} dB' for name in FORMATS)} | routed otherwise |"
    yield "|---" * (3 + len(FORMATS)) + "|"
    for row in rows:
        if stream and row.kind not in STREAM and row is not rows[-1]:
            continue
        cells = [f"{row.sqnr_db[n]:.1f}" if n in row.sqnr_db else NONE for n in FORMATS]
        moved = ", ".join(str(row.rerouted[name]) for name in FORMATS if name in row.rerouted)
        yield f"| {row.name} | {row.kind} | {' | '.join(cells)} | {moved or NONE} |"
    yield ""
    for what in ("wraps", "saturations"):
        counts = {row.name: getattr(row, what) for row in rows if getattr(row, what)}
        places = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        yield f"W16A32 {what}: {sum(counts.values()):,}{f' ({places})' if places else ''}"


if __name__ == "__main__":
    sys.exit(main())
