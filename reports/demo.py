"""The main job on real input: vit-mnist on the smallest accelerator, in RTL, with its report.

``python -m moesaic.reports.demo`` is what `make demo` runs.
"""

import sys
from pathlib import Path

from moesaic.reports.cli import main, own_process

IMAGES = 20
OUT = Path("runs", "vit-mnist-tiny")
RUN = ("run", "vit-mnist", "--accel", "tiny", "--backend", "both", "--images", str(IMAGES))


def demo(out: Path = OUT) -> int:
    """Run, write the report, and say where it lies; return the exit code."""
    print(
        f"vit-mnist, trained on MNIST, on the accelerator tiny: {IMAGES} test images through its\n"
        "Verilog, each layer compared bit for bit and each command to the cycle. The first run\n"
        "compiles the simulation.",
        flush=True,
    )
    return main([*RUN, "--out", str(out)]) or main(["report", str(out)])


if __name__ == "__main__":
    own_process()
    sys.exit(demo())
