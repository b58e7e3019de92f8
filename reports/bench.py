"""How fast it is, side by side in one run: cycle model, RTL, builds, SCALE-Sim and ZigZag.

``python -m moesaic.reports.bench`` is what `make bench` runs; ``--only`` picks parts. Times are of
this machine: compare those of one run only.
"""

import argparse
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from moesaic.dataflow.cycles import predict
from moesaic.dataflow.evaluate import Evaluator, Workload
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.program import Program
from moesaic.models.accel import AccelSpec, MemorySpec
from moesaic.models.accel_io import load_accel
from moesaic.models.graph import Graph, Ints
from moesaic.models.input_matrix import input_matrices
from moesaic.models.network import Network
from moesaic.models.quantise import quantise
from moesaic.models.seeded_weights import seeded_weights
from moesaic.models.vit_config import DEIT_TINY
from moesaic.models.zoo import default_calibration, load_model
from moesaic.models.zoo_vit import vit_network
from moesaic.reports.bench_peers import PeerError, encoder_gemms
from moesaic.reports.bench_scale_sim import scale_sim
from moesaic.reports.bench_sweep import bench_sweep
from moesaic.reports.bench_zigzag import zigzag
from moesaic.reports.files import write_json
from moesaic.sim.build import cache_directory
from moesaic.sim.campaign import fit
from moesaic.sim.system import Job, build_system, simulate
from moesaic.sim.verilog_cache import cached_verilog

PARTS = ("model", "sweep", "16", "32", "64")
COMPARED = 32  # side of the array on which the others run too
POINTS = (1024, 4096, 8192, 16384)  # weight_lines of machines that are mapped anew
REPEATS = 5
LAYER = replace(DEIT_TINY, depth=1, classes=10)
OUT = Path("runs", "bench.json")


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", choices=PARTS, nargs="+", default=PARTS)
    parser.add_argument("--json", type=Path, default=OUT)
    options = parser.parse_args()
    options.json.parent.mkdir(parents=True, exist_ok=True)
    peers_folder = cache_directory().resolve()
    result: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "layer": f"one encoder layer of deit-tiny: {LAYER.tokens} tokens, {LAYER.dim} channels",
    }
    print(f"{result['machine']}; {result['layer']}", flush=True)
    graph, inputs = layer_graph()
    sides = [int(part) for part in options.only if part.isdecimal()]
    if "model" in options.only:
        result["cycle_model"] = bench_model(graph, peers_folder)
        result["points"] = bench_points()
    if "sweep" in options.only:
        result["sweep"] = bench_sweep()
    # Builds are to be real, so nothing may be found in the cache.
    with tempfile.TemporaryDirectory(prefix="moesaic-bench-") as cache:
        os.environ["MOESAIC_CACHE"] = cache
        result["rtl"] = bench_rtl(graph, inputs, sides, Path(cache, "run"))
    write_json(options.json, result)
    print(f"written: {options.json}")
    return 0


def layer_graph() -> tuple[Graph, Ints]:
    """Return one encoder layer with its embedding and head, and an input."""
    network = vit_network("deit-layer", seeded_weights(LAYER, 0), heads=LAYER.heads)
    return _quantised(network)


def _quantised(network: Network) -> tuple[Graph, Ints]:
    images = default_calibration(network)
    graph = quantise(network, images)
    return graph, input_matrices(graph, network, images[:1])


def array_spec(side: int) -> AccelSpec:
    """Return a square dense int8 array with a vector unit and a bus to match."""
    return AccelSpec(
        name=f"{side}x{side}",
        rows=side,
        columns=side,
        lanes=side,
        bus_bytes=side,
        psum_depth=256,
        rowstat_rows=256,
        memory=MemorySpec(bytes_per_cycle=side),
    )


def bench_model(graph: Graph, folder: Path) -> list[dict[str, Any]]:
    """Time the cycle model, and others on the layer's GEMMs."""
    spec, (program,) = fit([(graph, 1)], array_spec(COMPARED))
    whole = _median(lambda: predict(map_graph(graph, spec)))
    alone = _median(lambda: predict(program))
    cycles = predict(program).cycles
    rows: list[dict[str, Any]] = [
        {
            "tool": "moesaic",
            "covers": "embedding, layer with softmax, norms and GELU, head; memory; cycle exact",
            "cycles": cycles,
            "map_and_predict_s": whole,
            "predict_s": alone,
        }
    ]
    tokens, dim = LAYER.tokens, LAYER.dim
    gemms = encoder_gemms(tokens, dim, LAYER.heads, LAYER.mlp)
    print(f"cycles of one design point, {spec.name} array:")
    print(f"  moesaic          {cycles:>9,} cycles  {whole:.3f} s ({alone:.4f} s without mapping)")
    peers: list[tuple[str, str, Callable[[], dict[str, float]]]] = [
        (
            "SCALE-Sim 3.0.0",
            "the layer's ten GEMMs, no stalls",
            lambda: scale_sim(folder / "scale-sim", gemms, rows=COMPARED, columns=COMPARED),
        ),
        (
            "ZigZag 3.9.1",
            "the layer's ten GEMMs on its own 32x32 example, mappings searched",
            lambda: zigzag(folder / "zigzag", gemms),
        ),
    ]
    for tool, covers, run in peers:
        row: dict[str, Any] = {"tool": tool, "covers": covers}
        try:
            row |= run()
        except PeerError as error:
            row["not_run"] = str(error)
            print(f"  {tool:<16} not run: {error}", flush=True)
        else:
            print(
                f"  {tool:<16} {row['cycles']:>9,} cycles  {row['seconds']:.1f} s, "
                f"{row['seconds'] / whole:,.0f} times as long: {covers}",
                flush=True,
            )
        rows.append(row)
    return rows


def bench_points() -> dict[str, Any]:
    """Time design points of m3vit-tiny, both tasks, on machines like zcu102, on one processor."""
    evaluator = Evaluator()
    base = load_accel("zcu102")
    for task in range(2):
        model = load_model("m3vit-tiny", task)
        graph = quantise(model.network, model.calibration)
        inputs = list(input_matrices(graph, model.network, model.images(1, 0)[0]))
        evaluator.add(Workload(name=str(task), graph=graph, inputs=inputs))

    def milliseconds(spec: AccelSpec) -> float:
        start = time.process_time()
        for task in range(2):
            evaluator.evaluate(spec, name=str(task))
        return 1e3 * (time.process_time() - start)

    milliseconds(base)  # routes the images once
    new, known = [], []
    for lines in POINTS:
        spec = replace(base, weight_lines=lines)
        new.append(milliseconds(spec))
        known.append(milliseconds(replace(spec, queue_depth=4)))
    result = {
        "new_mapping_ms": statistics.median(new),
        "known_mapping_ms": statistics.median(known),
    }
    print(
        f"one design point, m3vit-tiny on zcu102, both tasks: {result['new_mapping_ms']:.0f} ms "
        f"with a new mapping, {result['known_mapping_ms']:.1f} ms with a known one",
        flush=True,
    )
    return result


def bench_rtl(graph: Graph, inputs: Ints, sides: list[int], folder: Path) -> list[dict[str, Any]]:
    """Time elaboration, compilation and simulation on arrays of several sizes."""
    print(
        f"{'RTL':<28}{'elaborate s':>12}{'compile s':>11}{'cycles':>10}{'cycles/s':>10}"
        f"{'MMAC/s':>9}  model = RTL"
    )
    model = load_model("vit-mnist")
    mnist = quantise(model.network, model.calibration)
    first = input_matrices(mnist, model.network, model.images(1, 0)[0])
    tiny = load_accel("tiny")
    # the first build also compiles the simulator's own library
    cases = [("tiny, vit-mnist", map_graph(mnist, tiny), first)]
    for side in sides:
        _, (program,) = fit([(graph, 1)], array_spec(side))
        cases.append((f"{side}x{side}, deit-tiny layer", program, inputs))
    return [_rtl(name, program, x, folder) for name, program, x in cases]


def _rtl(name: str, program: Program, inputs: Ints, folder: Path) -> dict[str, Any]:
    start = time.perf_counter()
    verilog = cached_verilog(program.spec)
    elaborated = time.perf_counter()
    build_system(program.spec, verilog=verilog)
    compiled = time.perf_counter()
    jobs = [Job(program=program, inputs=[inputs[0]])]
    (log,), run = simulate(jobs, folder, verilog=verilog)
    macs = sum(note.macs for note in program.notes)
    row: dict[str, Any] = {
        "name": name,
        "elaborate_s": elaborated - start,
        "compile_s": compiled - elaborated,
        "cycles": log.cycles,
        "cycles_predicted": predict(program).cycles,
        "simulate_s": run.seconds,
        "cycles_per_s": log.cycles / run.seconds,
        "macs_per_s": macs / run.seconds,
    }
    equal = "yes" if row["cycles"] == row["cycles_predicted"] else "NO"
    print(
        f"{name:<28}{row['elaborate_s']:>12.1f}{row['compile_s']:>11.1f}{log.cycles:>10,}"
        f"{row['cycles_per_s']:>10,.0f}{row['macs_per_s'] / 1e6:>9.1f}  {equal}",
        flush=True,
    )
    return row


def _median(work: Callable[[], object]) -> float:
    """Return the median seconds of some runs."""
    seconds = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


if __name__ == "__main__":
    sys.exit(main())
