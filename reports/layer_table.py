"""Layers of five networks in training, dense and sparse: speed-ups beside their bounds.

``python -m moesaic.reports.layer_table`` maps each layer alone, with all its tensors to and from
memory, for the exact cycles of its fastest tiling; ``--json FILE`` keeps all figures, ``--rtl``
runs one whole layer of each network on RTL as well and compares every bit and cycle.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

from moesaic.dataflow.training.account import by_stage, shares
from moesaic.dataflow.training.layer_search import Mapped, best_mapping
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.float_format import FORMATS
from moesaic.models.training.layer_data import layer_data
from moesaic.models.training.layer_shapes import NETWORKS, macs_of_step, network_layers
from moesaic.models.training.method import Method
from moesaic.reports.arguments import integer
from moesaic.reports.files import check_file, write_json
from moesaic.sim.options import BATCH_LIMIT
from moesaic.sim.training.experiment import load_training_accel

BATCHES = {"resnet9": 64, "vit": 64, "vgg19": 64, "resnet18": 32, "resnet50": 16}
"""Images of a step: more of them share one update, and fewer fit the mapper's patience."""
RATIOS = ("2:4", "2:8", "2:16")
ON_RTL = {
    "resnet9": "residual2",
    "vit": "mlp",
    "vgg19": "stage3.2",
    "resnet18": "stage4.short",
    "resnet50": "stage4.middle",
}
"""A layer of each network whose step of one image takes minutes on RTL."""
DENSE = "dense"


def method_of(ratio: str) -> Method:
    """Return BDWP at a ratio, or dense training."""
    return Method() if ratio == DENSE else Method(name="bdwp", nm=NM.parse(ratio))


@dataclass(slots=True, kw_only=True)
class LayerRow:
    """One layer of a network: cycles of a step by ratio, and what they are spent on."""

    network: str
    name: str
    count: int
    batch: int
    macs: int
    cycles: dict[str, int] = field(default_factory=dict)
    stages: dict[str, dict[str, dict[str, int]]] = field(default_factory=dict)
    tilings: dict[str, dict[str, Any] | None] = field(default_factory=dict)

    def add(self, ratio: str, mapped: Mapped) -> None:
        """Note the fastest mapping at a ratio."""
        program, timing = mapped.program, mapped.timing
        found = shares(program, (self.name,), timing.accepted, timing.done, timing.cycles)
        self.cycles[ratio] = timing.cycles
        self.stages[ratio] = by_stage([s for s in found if s.stage])
        self.tilings[ratio] = None if mapped.plan is None else asdict(mapped.plan.tiling)


def layer_rows(
    spec: AccelSpec, network: str, ratios: Sequence[str], batch: int | None = None
) -> Iterator[LayerRow]:
    """Map all layers of a network; a layer that no method prunes is mapped once."""
    batch = batch or BATCHES[network]
    for layer in network_layers(network):
        row = LayerRow(
            network=network,
            name=layer.name,
            count=layer.count,
            batch=batch,
            macs=layer.macs * layer.products * batch,
        )
        for ratio in (DENSE, *ratios):
            if ratio == DENSE or (layer.sparse and not layer.heads):
                row.add(ratio, best_mapping(spec, layer, method_of(ratio), batch))
            else:
                row.cycles[ratio] = row.cycles[DENSE]
        yield row


def summary(
    rows: Sequence[LayerRow], spec: AccelSpec, ratios: Sequence[str]
) -> list[dict[str, Any]]:
    """Return each network's speed-ups, bounds by MACs, and use of the array when dense."""
    out = []
    for network in dict.fromkeys(row.network for row in rows):
        mine = [row for row in rows if row.network == network]
        total = {r: sum(row.count * row.cycles[r] for row in mine) for r in (DENSE, *ratios)}
        macs = sum(row.count * row.macs for row in mine)
        layers = network_layers(network)
        speedups = {ratio: total[DENSE] / total[ratio] for ratio in ratios}
        bounds = {
            ratio: macs_of_step(layers) / macs_of_step(layers, 1 / NM.parse(ratio).expansion)
            for ratio in ratios
        }
        out.append(
            {
                "network": network,
                "batch": mine[0].batch,
                "macs": macs,
                "cycles": total,
                "utilisation": macs / (total[DENSE] * spec.macs_per_cycle),
                "speedup": speedups,
                "bound": bounds,
                "of_bound": {ratio: speedups[ratio] / bounds[ratio] for ratio in ratios},
            }
        )
    return out


def table_lines(networks: Sequence[dict[str, Any]], ratios: Sequence[str]) -> Iterator[str]:
    """Yield the table in Markdown; a cell is speed-up, bound, and per cent of it."""
    yield f"| network | batch | dense cycles | array used | {' | '.join(ratios)} |"
    yield "|---" * (4 + len(ratios)) + "|"
    for found in networks:
        cells = [
            f"{found['speedup'][r]:.3f} of {found['bound'][r]:.3f}, {found['of_bound'][r]:.1%}"
            for r in ratios
        ]
        yield (
            f"| {found['network']} | {found['batch']} | {found['cycles'][DENSE]:,} | "
            f"{found['utilisation']:.1%} | {' | '.join(cells)} |"
        )
    means = []
    for r in ratios:
        speedup, bound = (mean(found[key][r] for found in networks) for key in ("speedup", "bound"))
        means.append(f"**{speedup:.3f}** of {bound:.3f}, {speedup / bound:.1%}")
    yield f"| mean | | | | {' | '.join(means)} |"


def confirm(spec: AccelSpec, network: str, ratio: str) -> dict[str, Any]:
    """Run a whole layer of a network on RTL, one image; raise nothing, say what differs."""
    from moesaic.sim.training.check import check_on_rtl

    [layer] = [each for each in network_layers(network) if each.name == ON_RTL[network]]
    method, fmt = method_of(ratio), FORMATS[spec.numbers]
    mapped = best_mapping(spec, layer, method, 1)
    assert mapped.plan is not None  # ON_RTL has no attention
    given = layer_data(mapped.plan, fmt, seed=1)
    with tempfile.TemporaryDirectory(prefix="moesaic-") as folder:
        _, checked = check_on_rtl(mapped.program, mapped.timing, given, Path(folder))
    return {
        "network": network,
        "layer": layer.name,
        "ratio": ratio,
        "cycles_predicted": mapped.timing.cycles,
        "cycles_rtl": checked.cycles,
        "values_compared": checked.compared,
        "operations_compared": checked.layers,
        "failures": checked.failures,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 for what a user got wrong, 1 if RTL differs."""
    parser = argparse.ArgumentParser(
        prog="python -m moesaic.reports.layer_table", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("--accel", default="vcu1525", metavar="A", help="a preset or a YAML file")
    parser.add_argument("--network", action="append", choices=NETWORKS, help="all without it")
    parser.add_argument("--ratio", action="append", choices=RATIOS, help="all without it")
    parser.add_argument(
        "--batch", type=integer(1, BATCH_LIMIT), metavar="B", help="of all networks"
    )
    parser.add_argument("--rtl", action="store_true", help="one layer of each on RTL, dense too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="all figures")
    options = parser.parse_args(arguments)
    ratios = options.ratio or [*RATIOS]
    try:
        check_file(options.json, "--json")
        return _run(
            load_training_accel(options.accel), options.network or [*NETWORKS], ratios, options
        )
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def _run(
    spec: AccelSpec, networks: Sequence[str], ratios: Sequence[str], options: argparse.Namespace
) -> int:
    rows: list[LayerRow] = []
    for network in networks:
        for row in layer_rows(spec, network, ratios, options.batch):
            rows.append(row)
            figures = ", ".join(f"{r} {row.cycles[DENSE] / row.cycles[r]:.3f}" for r in ratios)
            name = f"{network} {row.name}"
            print(f"{name:<32} {row.count:>2} x {row.cycles[DENSE]:>12,}  {figures}", flush=True)
    found = summary(rows, spec, ratios)
    print()
    print("\n".join(table_lines(found, ratios)))
    checks = []
    for network in networks if options.rtl else ():
        for ratio in (DENSE, "2:8"):
            check = confirm(spec, network, ratio)
            checks.append(check)
            verdict = "; ".join(check["failures"]) or "equal in bits and cycles"
            print(
                f"{network} {check['layer']}, {ratio}: {check['cycles_rtl']:,} cycles on RTL, "
                f"{check['values_compared']:,} values: {verdict}",
                flush=True,
            )
    if options.json:
        content = {
            "accel": spec.name,
            "networks": found,
            "layers": [asdict(row) for row in rows],
            "on_rtl": checks,
        }
        write_json(options.json, content)
    return int(any(check["failures"] for check in checks))


if __name__ == "__main__":
    sys.exit(main())
