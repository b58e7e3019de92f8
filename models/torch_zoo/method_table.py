"""Sparse methods against dense training: python -m moesaic.models.torch_zoo.method_table RUNS.

Trains what RUNS, a file of one JSON object a line, lacks, and prints the table of all in it; with
`--table` it only prints, with `--docs FILE` it puts the table in the place of the one in FILE. A
line is written when its run is done, so work may stop at any time.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from moesaic.models.recipes import MethodRecipe, load_recipe
from moesaic.models.small_images import load_images
from moesaic.models.torch_zoo.train import top1
from moesaic.models.torch_zoo.train_method import train_by_method
from moesaic.models.training_method import METHODS, MethodSpec

NETWORKS = ("vit7-mnist", "resnet9-mnist")
SEEDS = (1, 2, 3)
RATIOS = ("2:4", "1:4", "2:8", "1:8", "2:16", "4:16")
DENSE = MethodSpec(method="dense")
SPARSE = METHODS[1:]


def at(method: str, nm: str = "2:8", **switches: Any) -> MethodSpec:
    """Return a method at a ratio."""
    return MethodSpec(method=method, nm=nm, **switches)


def specs() -> list[MethodSpec]:
    """Return all methods in the order in which they are trained."""
    return [
        DENSE,
        at("bdwp"),
        *(at(method) for method in SPARSE[1:]),
        at("bdwp", update="2:4"),
        at("bdwp", decay=2e-4),
        *(at("bdwp", nm) for nm in RATIOS if nm != "2:8"),
        *(at(method, nm) for nm in RATIOS if nm != "2:8" for method in SPARSE[1:]),
        at("srste", decay=0.0),
        at("sdgp", rescale=True),
        at("bdwp", refresh=40),
        *(at("bdwp", nm, update="2:4") for nm in ("2:4", "2:16")),
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One network trained with one seed by one method; `top1` of the test images, in percent."""

    network: str
    seed: int
    method: dict[str, Any]
    top1: float
    loss: float
    seconds: float


def plain(spec: MethodSpec) -> dict[str, Any]:
    """Return a method as JSON gives it back."""
    return asdict(spec) | {"exceptions": list(spec.exceptions)}


def wanted() -> Iterator[tuple[MethodSpec, str, int]]:
    """Give method, network and seed of every run, the most telling ones first."""
    for spec in specs():
        for seed, network in product(SEEDS, NETWORKS):
            yield spec, network, seed


def read_runs(path: Path) -> list[Run]:
    """Read the finished runs; none where there is no file."""
    if not path.exists():
        return []
    return [Run(**json.loads(line)) for line in path.read_text().splitlines() if line]


def run_one(spec: MethodSpec, network: str, seed: int) -> Run:
    """Train once and measure on the test images."""
    recipe = load_recipe(network)
    assert isinstance(recipe, MethodRecipe)
    result = train_by_method(replace(recipe, method=spec, seed=seed))
    split = load_images(recipe.dataset, recipe.model.image)
    return Run(
        network=network,
        seed=seed,
        method=plain(spec),
        top1=round(100 * top1(result.model, split.test_images, split.test_labels), 3),
        loss=round(result.history[-1].loss, 5),
        seconds=round(result.seconds, 1),
    )


def label(spec: MethodSpec) -> str:
    """Return a method's name with the switches that differ from its own defaults."""
    words = [spec.method]
    if spec.decay is not None:
        words.append(f"decay {spec.decay:g}")
    if spec.refresh > 1:
        words.append(f"masks every {spec.refresh} steps")
    if spec.rescale:
        words.append("rescaled")
    if spec.update:
        words.append(f"update {spec.update}")
    return ", ".join(words)


def table(runs: Sequence[Run]) -> Iterator[str]:
    """Give the lines of the Markdown table: methods with at least one run beside a dense one.

    A network's cell is the mean of its seeds and their standard deviation. `change` is the mean,
    over all runs, of the difference to the dense run of the same network and seed, with the
    standard error of that mean; both in points.
    """
    found = {(json.dumps(run.method), run.network, run.seed): run.top1 for run in runs}
    dense = json.dumps(plain(DENSE))
    yield f"| method | N:M | {' | '.join(f'`{name}`' for name in NETWORKS)} | change | runs |"
    yield f"|---|---|{'---|' * len(NETWORKS)}---|---|"
    for spec in sorted(specs(), key=lambda s: (METHODS.index(s.method), label(s) != s.method)):
        key, cells, changes = json.dumps(plain(spec)), [], []
        for network in NETWORKS:
            seeds = [
                s for s in SEEDS if (key, network, s) in found and (dense, network, s) in found
            ]
            values = [found[key, network, seed] for seed in seeds]
            cells.append(_spread(values))
            changes += [found[key, network, s] - found[dense, network, s] for s in seeds]
        if changes:
            change = "" if spec == DENSE else _error(changes)
            cells = [label(spec), spec.nm or "", *cells, change, str(len(changes))]
            yield f"| {' | '.join(cells)} |"


def _spread(values: Sequence[float]) -> str:
    if len(values) < 2:
        return "".join(f"{value:.2f}" for value in values)
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def _error(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{values[0]:+.2f}"
    return f"{mean(values):+.2f} ± {stdev(values) / len(values) ** 0.5:.2f}"


def replace_table(text: str, lines: Sequence[str]) -> str:
    """Return `text` with `lines` in the place of the table that begins with the same head."""
    before, head, after = text.partition(f"\n{lines[0]}\n")
    if not head:
        raise ValueError(f"the text must have a table that begins with {lines[0]!r}")
    rest = after.split("\n")
    end = next((i for i, line in enumerate(rest) if not line.startswith("|")), len(rest))
    return "\n".join([before, *lines, *rest[end:]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Train what is missing and print the table."""
    parser = argparse.ArgumentParser(prog="python -m moesaic.models.torch_zoo.method_table")
    parser.add_argument("runs", type=Path, metavar="RUNS", help="a file of finished runs")
    parser.add_argument("--table", action="store_true", help="train nothing")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="a page with an older table")
    options = parser.parse_args(arguments)
    runs = read_runs(options.runs)
    done = {(json.dumps(run.method), run.network, run.seed) for run in runs}
    for spec, network, seed in wanted():
        if options.table or (json.dumps(plain(spec)), network, seed) in done:
            continue
        run = run_one(spec, network, seed)
        runs.append(run)
        with options.runs.open("a") as file:
            file.write(json.dumps(asdict(run)) + "\n")
        what = f"{label(spec)} {spec.nm or ''} {network} {seed}"
        sys.stderr.write(f"{what}: {run.top1:.2f} %, {run.seconds:.0f} s\n")
    lines = list(table(runs))
    if options.docs:
        options.docs.write_text(replace_table(options.docs.read_text(), lines))
    sys.stdout.writelines(f"{line}\n" for line in lines)
    return 0


if __name__ == "__main__":
    sys.exit(main())
