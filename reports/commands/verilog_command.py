"""`moesaic verilog`: an accelerator for other tools, the same bytes for the same parameters."""

import argparse

from moesaic.reports.arguments import path
from moesaic.reports.files import check_directory, new_directory, write_text

MARKER = "moesaic.f"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("--accel", required=True, metavar="A", help="a preset or a YAML file")
    parser.add_argument("--out", type=path, required=True, metavar="DIR", help="where files go")


def execute(options: argparse.Namespace) -> int:
    """Write the files."""
    from moesaic.models.accel_io import load_integer_accel

    spec = load_integer_accel(options.accel)
    check_directory(options.out, "--out", MARKER)

    from moesaic.reports.verilog_files import verilog_files

    files = verilog_files(spec)
    with new_directory(options.out) as folder:
        for name, text in files.items():
            write_text(folder / name, text)
    for name, text in files.items():
        print(f"  {name:<14}  {text.count(chr(10)):,} lines")
    print(f"written to {options.out}")
    return 0
