"""Random accelerators times random networks: RTL against models to the bit and to the cycle.

``python -m moesaic.sim.campaign --configs 30 --graphs 10 --seed 1`` runs all and prints a line for
each; ``--only 7`` replays configuration 7 alone.
"""

import argparse
import re
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from moesaic.dataflow.cycles import predict
from moesaic.dataflow.mapper import map_graph
from moesaic.dataflow.options import MapOptions
from moesaic.dataflow.program import Program
from moesaic.dataflow.queues import queue_lengths
from moesaic.models.accel import NM, AccelSpec, MemorySpec
from moesaic.models.errors import InputError
from moesaic.models.execute import execute
from moesaic.models.graph import Graph, Ints
from moesaic.models.input_matrix import input_matrix
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import FORMS, sample_images, sample_network
from moesaic.sim.compare import compare_cycles, compare_tensors
from moesaic.sim.system import Job, outputs, simulate

TOKENS = (1, 3, 31, 129, 197)
EXPERT_SHARE = 0.4  # networks with experts, on machines that have queues for them
BATCHES = (1, 1, 2, 3)
STALLS = (0.0, 0.5, 0.9)
MODES = tuple(NM(n=n, m=m) for n in (1, 2, 4) for m in (4, 8, 16) if n < m)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One network on one accelerator under one stall chance, and what came of it."""

    label: str
    stall: float
    problem: str
    cycles: int


def random_spec(rng: np.random.Generator, number: int) -> AccelSpec:
    """Return a small accelerator; buffers are enlarged later where a network needs it."""

    def pick(*values: int) -> int:
        return int(rng.choice(values))

    rows, columns, lanes = pick(4, 8, 16), pick(4, 8, 16), pick(4, 8, 16)
    data_bits = pick(8, 8, 16)
    modes = tuple(m for m in MODES if rows % m.n == 0 and m.expansion * rows <= 64)
    chosen = rng.permutation(len(modes))[: int(rng.integers(0, 4))]
    sparsity = tuple(modes[i] for i in sorted(chosen))
    line = rows * (1 if sparsity else data_bits // 8)
    residual = max(columns, lanes) * data_bits // 4  # a word of one token
    bus = pick(*(b for b in (4, 8, 16) if b <= min(line, residual, 8 * columns, 8 * lanes)))
    rate = float(rng.choice([0.75, 2.5, 5.69, float(bus), 100.0]))
    return AccelSpec(
        name=f"random-{number}",
        rows=rows,
        columns=columns,
        lanes=lanes,
        tokens_per_beat=1 if data_bits == 16 else pick(1, 2),
        data_bits=data_bits,
        sparsity=sparsity,
        bus_bytes=bus,
        outstanding=pick(1, 2, 4, 8),
        burst_beats=pick(1, 4, 16, 64),
        queue_depth=pick(2, 4, 8),
        block_commands=pick(4, 8, 16),
        psum_depth=256,
        weight_lines=max(64, 2 * columns),
        index_lines=64 if sparsity else 0,
        param_columns=max(32, 2 * columns),
        norm_words=16,
        input_words=256,
        act_words=1024,
        vec_words=1024,
        kv_words=2048,
        score_words=2048,
        residual_words=2048,
        rowstat_rows=256,
        memory=MemorySpec(latency=pick(4, 9, 32, 100), bytes_per_cycle=rate),
        experts=pick(0, 8, 64),
    )


def random_graph(
    rng: np.random.Generator, spec: AccelSpec, tokens: int
) -> tuple[Graph, list[Ints]]:
    """Return a quantised network of about `tokens` tokens, and three input matrices."""
    form = "postnorm" if tokens == 1 else str(rng.choice(FORMS))
    heads = int(rng.choice([1, 2, 3]))
    experts = top = 0
    if spec.experts and tokens > 1 and rng.random() < EXPERT_SHARE:
        form, experts = "experts", int(rng.integers(2, spec.experts + 1))
        top = int(rng.integers(1, min(4, experts) + 1))
    network = sample_network(
        form,
        seed=int(rng.integers(1 << 30)),
        dim=heads * int(rng.integers(2, 9)),
        heads=heads,
        mlp=int(rng.integers(3, 40)),
        classes=int(rng.integers(1, 12)),
        nm=spec.sparsity[int(rng.integers(len(spec.sparsity)))] if spec.sparsity else None,
        tokens=tokens,
        experts=experts,
        top=top,
    )
    images = sample_images(network, 3, seed=int(rng.integers(1 << 30)))
    graph = quantise(network, images, data_bits=spec.data_bits, gelu=spec.gelu)
    return graph, [input_matrix(graph, network, image) for image in images]


def fit(batches: list[tuple[Graph, int]], spec: AccelSpec) -> tuple[AccelSpec, list[Program]]:
    """Map graphs with batches, enlarging each buffer that is too small as its refusal says."""
    options = MapOptions(batch="layers")
    while True:
        try:
            return spec, [
                map_graph(graph, spec, batch=batch, options=options) for graph, batch in batches
            ]
        except InputError as error:
            found = re.match(r"(\w+) must be at least (\d+)", str(error))
            if found is None:
                raise
            size = 1 << (int(found[2]) - 1).bit_length()
            changes: dict[str, Any] = {found[1]: size}
            spec = replace(spec, **changes)


def run_config(number: int, seed: int, graphs: int, run_dir: Path) -> tuple[AccelSpec, list[Case]]:
    """Run one random accelerator with its networks under all stall chances."""
    rng = np.random.default_rng([seed, number])
    spec = random_spec(rng, number)
    pairs = [random_graph(rng, spec, TOKENS[i % len(TOKENS)]) for i in range(graphs)]
    # drawn apart, so that machines and networks are those of a seed with or without batches
    batches = np.random.default_rng([seed, number, 1]).choice(BATCHES, size=graphs).tolist()
    asked = [(graph, batch) for (graph, _), batch in zip(pairs, batches, strict=True)]
    spec, programs = fit(asked, spec)
    jobs = [
        Job(program=program, inputs=inputs[:batch], stall=stall, seed=seed + i)
        for i, (program, (_, inputs), batch) in enumerate(
            zip(programs, pairs, batches, strict=True)
        )
        for stall in STALLS
    ]
    logs, _ = simulate(jobs, run_dir)
    cases = []
    for job, log in zip(jobs, logs, strict=True):
        graph = job.program.graph
        tensors = [execute(graph, x, lanes=spec.lanes) for x in job.inputs]
        problem = compare_tensors(job.program, log, tensors).first
        last = graph.nodes[-1].name
        for result, values in zip(outputs(job.program, log), tensors, strict=True):
            if not problem and (result != values[last]).any():
                problem = "result in memory differs"
        if not problem and not job.stall:
            queues = queue_lengths(job.program, tensors)
            problem = compare_cycles(job.program, log, predict(job.program, queues))
        label = f"{graph.name}-{graph.nodes[1].tokens}x{len(tensors)}"
        cases.append(Case(label=label, stall=job.stall, problem=problem, cycles=log.cycles))
    return spec, cases


def campaign(configs: range, seed: int, graphs: int) -> Iterator[tuple[int, AccelSpec, list[Case]]]:
    """Run random accelerators one after another."""
    for number in configs:
        with tempfile.TemporaryDirectory() as folder:
            spec, cases = run_config(number, seed, graphs, Path(folder))
        yield number, spec, cases


def main() -> int:
    """Run from the command line; exit code 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--configs", type=int, default=30)
    parser.add_argument("--graphs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int)
    args = parser.parse_args()
    configs = range(args.configs) if args.only is None else range(args.only, args.only + 1)
    start, bad, count = time.perf_counter(), 0, 0
    for number, spec, cases in campaign(configs, args.seed, args.graphs):
        problems = [case for case in cases if case.problem]
        bad, count = bad + len(problems), count + len(cases)
        modes = ",".join(map(str, spec.sparsity)) or "dense"
        print(
            f"config {number}: {spec.rows}x{spec.columns}x{spec.tokens_per_beat} int"
            f"{spec.data_bits} lanes {spec.lanes} bus {spec.bus_bytes} {modes}: {len(cases)} runs, "
            f"{sum(c.cycles for c in cases)} cycles, {len(problems)} differ",
            flush=True,
        )
        for case in problems:
            print(f"  {case.label} stall {case.stall}: {case.problem}")
            print(
                "  replay: python -m moesaic.sim.campaign "
                f"--seed {args.seed} --graphs {args.graphs} --only {number}"
            )
    print(f"{count} runs, {bad} differ, {time.perf_counter() - start:.0f} s, seed {args.seed}")
    return int(bad > 0)


if __name__ == "__main__":
    raise SystemExit(main())
