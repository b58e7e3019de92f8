"""SCALE-Sim v3 on the GEMMs of an encoder layer, in a virtual environment of its own."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from moesaic.reports.bench_peers import Gemm, answer_of, peer_python

REQUIREMENTS = ("scalesim==3.0.0", "numpy<2")  # it breaks on numpy 2

CONFIG = """[general]
run_name = bench
[architecture_presets]
ArrayHeight = {rows}
ArrayWidth = {columns}
IfmapSramSzkB = 512
FilterSramSzkB = 512
OfmapSramSzkB = 256
IfmapOffset = 0
FilterOffset = 10000000
OfmapOffset = 20000000
Dataflow = ws
Bandwidth = {columns}
ReadRequestBuffer = 64
WriteRequestBuffer = 64
[layout]
IfmapCustomLayout = False
IfmapSRAMBankBandwidth = 10
IfmapSRAMBankNum = 10
IfmapSRAMBankPort = 2
FilterCustomLayout = False
FilterSRAMBankBandwidth = 10
FilterSRAMBankNum = 10
FilterSRAMBankPort = 2
[sparsity]
SparsitySupport = false
SparseRep = ellpack_block
OptimizedMapping = false
BlockSize = 8
RandomNumberGeneratorSeed = 40
[run_presets]
InterfaceBandwidth = CALC
UseRamulatorTrace = False
"""

SCRIPT = """
import csv, json, sys, time
from scalesim.scale_sim import scalesim
start = time.perf_counter()
tool = scalesim(save_disk_space=True, verbose=False, config="bench.cfg", topology="gemms.csv",
                layout="layout.csv", input_type_gemm=True)
tool.run_scale(top_path="out")
seconds = time.perf_counter() - start
rows = list(csv.reader(open("out/bench/COMPUTE_REPORT.csv")))
place = [name.strip() for name in rows[0]].index("Total Cycles")
cycles = sum(int(row[place]) for row in rows[1:])
json.dump({"seconds": seconds, "cycles": cycles}, open("answer.json", "w"))
"""


def scale_sim(folder: Path, gemms: Sequence[Gemm], *, rows: int, columns: int) -> dict[str, float]:
    """Return ``seconds`` (imports left out) and ``cycles`` of SCALE-Sim, weight stationary.

    Parameters
    ----------
    folder : Path
        Of its virtual environment; made if missing.
    gemms : sequence of Gemm
    rows, columns : int
        Of the array.

    Raises
    ------
    PeerError
        If it cannot be installed or fails.
    """
    python = peer_python(folder, REQUIREMENTS)
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "bench.cfg").write_text(CONFIG.format(rows=rows, columns=columns))
        lines = [f"{gemm.name},{gemm.m},{gemm.n},{gemm.k}," for gemm in gemms]
        (work / "gemms.csv").write_text("\n".join(["Layer,M,N,K,", *lines]) + "\n")
        (work / "layout.csv").write_text("\n".join(["Layer,", *(f"{g.name}," for g in gemms)]))
        return answer_of(python, SCRIPT, "SCALE-Sim", work)
