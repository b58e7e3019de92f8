"""ZigZag on the GEMMs of an encoder layer, in a virtual environment of its own."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from moesaic.reports.bench_peers import Gemm, answer_of, peer_python

REQUIREMENTS = ("zigzag-dse==3.9.1", "six")  # it imports six without asking for it
SIDE = 32  # of the array of its own example of a weight-stationary machine, tpu_like.yaml

SCRIPT = """
import json, logging, pathlib, time
import zigzag
from zigzag.api import get_hardware_performance_zigzag as run
logging.disable(logging.CRITICAL)
inputs = pathlib.Path(zigzag.__file__).parent / "inputs"
bits = {"W": 8, "I": 8, "O": 16, "O_final": 8}
layers = [
    {"id": i, "name": g["name"], "operator_type": "Gemm", "equation": "O[d][k]+=I[d][c]*W[c][k]",
     "loop_dims": ["D", "K", "C"], "loop_sizes": [g["m"], g["n"], g["k"]],
     "operand_precision": bits, "operand_source": {"I": i, "W": i}}
    for i, g in enumerate(json.load(open("gemms.json")))
]
start = time.perf_counter()
machine = str(inputs / "hardware" / "tpu_like.yaml")
mapping = str(inputs / "mapping" / "tpu_like.yaml")
_, cycles, *_ = run(layers, machine, mapping, opt="latency", dump_folder="out",
                    loma_show_progress_bar=False)
seconds = time.perf_counter() - start
json.dump({"seconds": seconds, "cycles": int(cycles)}, open("answer.json", "w"))
"""


def zigzag(folder: Path, gemms: Sequence[Gemm]) -> dict[str, float]:
    """Return ``seconds`` (imports left out) and ``cycles`` of ZigZag on its 32x32 example.

    Parameters
    ----------
    folder : Path
        Of its virtual environment; made if missing.
    gemms : sequence of Gemm

    Raises
    ------
    PeerError
        If it cannot be installed or fails.
    """
    python = peer_python(folder, REQUIREMENTS)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "gemms.json").write_text(json.dumps([asdict(gemm) for gemm in gemms]))
        return answer_of(python, SCRIPT, "ZigZag", work)
