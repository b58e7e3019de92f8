"""How long a published accelerator should take, beside what its publication measured.

``python -m moesaic.dataflow.published`` prints prediction, breakdown and sensitivity. The rules are
those of :mod:`moesaic.dataflow.published_stages`; the constants are those of the file
``models/presets_published/edge-moe-2023.yaml``. None is fitted to the published latency.
"""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moesaic.dataflow.published_machine import PublishedMachine, load_published, published_names
from moesaic.dataflow.published_stages import (
    ATTENTION,
    GROUPS,
    LINEAR,
    Assumptions,
    Stage,
    StageBuilder,
)
from moesaic.models.errors import InputError
from moesaic.models.float_run import run_float
from moesaic.models.input_matrix import check_images
from moesaic.models.network import Gate, Network
from moesaic.models.zoo import load_model


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """All stages of one image."""

    machine: PublishedMachine
    stages: tuple[Stage, ...]

    @property
    def cycles(self) -> int:
        """Cycles of one image."""
        return sum(stage.cycles for stage in self.stages)

    @property
    def ms(self) -> float:
        """Milliseconds of one image."""
        return self.cycles / self.machine.clock_mhz / 1e3

    @property
    def bytes(self) -> int:
        """Bytes read and written."""
        return sum(sum(s.reads.values()) + sum(s.writes.values()) for s in self.stages)

    def group_ms(self, group: str) -> float:
        """Milliseconds of one of :data:`GROUPS`."""
        cycles = sum(stage.cycles for stage in self.stages if stage.group == group)
        return cycles / self.machine.clock_mhz / 1e3


def even_queues(machine: PublishedMachine, used: int | None = None) -> list[int]:
    """Return the tokens of each expert where the first `used` of them share all choices evenly."""
    used = machine.experts if used is None else used
    if not machine.top <= used <= machine.experts:
        raise InputError(f"used must be in {machine.top}..{machine.experts}, not {used}")
    choices = machine.tokens * machine.top
    queues = [choices // used + (expert < choices % used) for expert in range(used)]
    return queues + [0] * (machine.experts - used)


def predict_published(
    machine: PublishedMachine,
    *,
    queues: Sequence[int] | Sequence[Sequence[int]] | None = None,
    assumed: Assumptions | None = None,
) -> Prediction:
    """Return the stages of one image.

    `queues` is the number of tokens of each expert, for all layers or for each layer with experts;
    without it all experts are used evenly: the average trip count that the source states for its
    loop over experts is that of all of them. InputError where the queues do not hold each token
    `top` times.
    """
    b = StageBuilder(machine=machine, assumed=assumed or Assumptions())
    layers = _queues_by_layer(machine, queues)
    b.embed()
    for layer in range(machine.layers):
        b.layer = layer
        b.attention()
        if layer % 2:
            b.gate()
            b.mixture(layers[layer // 2])
        else:
            b.perceptron()
        b.add()
    return Prediction(machine=machine, stages=tuple(b.stages))


def queues_of(network: Network, image: NDArray[Any]) -> list[list[int]]:
    """Return the tokens that each expert gets, for each gate, when the float network runs."""
    values = run_float(network, check_images(network, image[np.newaxis]))
    gates = [layer.name for layer in network.layers if isinstance(layer, Gate)]
    return [(values[name][0] > 0).sum(axis=0).tolist() for name in gates]


def _queues_by_layer(
    machine: PublishedMachine, queues: Sequence[int] | Sequence[Sequence[int]] | None
) -> list[list[int]]:
    """Return the queues of each layer with experts, checked."""
    shared: list[int] = even_queues(machine) if queues is None else []
    own: list[list[int]] = []
    for row in queues or ():
        if isinstance(row, int):
            shared.append(row)
        else:
            own.append(list(row))
    layers = own if own and not shared else [shared] * machine.expert_layers
    if len(layers) != machine.expert_layers:
        raise InputError(f"queues must be of {machine.expert_layers} layers, not {len(layers)}")
    for row in layers:
        if len(row) != machine.experts or not all(0 <= n <= machine.tokens for n in row):
            raise InputError(
                f"queues must be {machine.experts} lengths in 0..{machine.tokens}, not {row!r:.80}"
            )
        if sum(row) != machine.tokens * machine.top:
            raise InputError(
                f"queues must hold {machine.tokens * machine.top} choices, not {sum(row)}"
            )
    return layers


def sensitivity(machine: PublishedMachine) -> Iterator[tuple[str, float]]:
    """Yield what may be otherwise, one thing at a time, and the milliseconds it would make."""

    def ms(
        other: PublishedMachine = machine,
        queues: Sequence[int] | None = None,
        assumed: Assumptions | None = None,
    ) -> float:
        return predict_published(other, queues=queues, assumed=assumed).ms

    for used in (machine.experts // 2, 3 * machine.experts // 4):
        yield (
            f"{used} of {machine.experts} experts used, evenly",
            ms(queues=even_queues(machine, used)),
        )
    yield "experts' loads wait for products", ms(assumed=Assumptions(expert_loads_overlap=False))
    yield "all loads overlap products", ms(assumed=Assumptions(other_loads_overlap=True))
    for share in (Fraction(9, 10), Fraction(8, 10)):
        name = f"ports deliver {int(100 * share)} % of their peak"
        yield name, ms(assumed=Assumptions(port_share=share))
    for latency in (0, 2 * machine.read_latency):
        name = f"requests {latency} cycles ahead, not {machine.read_latency}"
        yield name, ms(replace(machine, read_latency=latency))
    wide = 2 * machine.port_bytes
    yield f"ports of {8 * wide} bits", ms(replace(machine, port_bytes=wide))
    yield "keys and values kept on chip", ms(assumed=Assumptions(keys_on_chip=True))


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; 2 for what a user got wrong."""
    parser = argparse.ArgumentParser(
        prog="python -m moesaic.dataflow.published", description=__doc__.splitlines()[0]
    )
    parser.add_argument("name", nargs="?", default="edge-moe-2023", choices=published_names())
    parser.add_argument("--stages", action="store_true", help="every stage of every layer")
    parser.add_argument("--routing", metavar="MODEL", help="take the queues of a model's image 0")
    parser.add_argument("--task", type=int, default=0, help="of the model of --routing")
    options = parser.parse_args(arguments)
    try:
        queues = None
        if options.routing:
            model = load_model(options.routing, options.task)
            queues = queues_of(model.network, model.images(1, 0)[0][0])
        prediction = predict_published(load_published(options.name), queues=queues)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print("\n".join(_table(prediction)))
    print("\n".join(_stage_table(prediction, whole=options.stages)))
    if queues is None:
        print("\n".join(_sensitivity_table(prediction)))
    return 0


def _table(prediction: Prediction) -> Iterator[str]:
    """Yield the lines of prediction and publication side by side."""
    m = prediction.machine
    shares = {ATTENTION: m.paper_attention_share, LINEAR: m.paper_linear_share}
    yield (
        f"{m.name}: {m.macs:,} MAC, {m.tokens} tokens, {m.clock_mhz} MHz, "
        f"{prediction.bytes / 1e6:.1f} MB moved"
    )
    yield f"{'':<30}{'predicted':>12}{'':>8}{'published':>12}{'':>8}{'gap':>9}"
    for group in GROUPS:
        share = shares.get(group, 1 - sum(shares.values()))
        ms = prediction.group_ms(group)
        yield (
            f"{group:<30}{ms:>9.2f} ms{ms / prediction.ms:>7.0%} "
            f"{share * m.paper_ms:>9.2f} ms{share:>7.0%} {ms - share * m.paper_ms:>+6.2f} ms"
        )
    gap = prediction.ms / m.paper_ms - 1
    yield (
        f"{'all':<30}{prediction.ms:>9.2f} ms{'':>8}{m.paper_ms:>9.2f} ms{'':>8}"
        f"{prediction.ms - m.paper_ms:>+6.2f} ms ({gap:+.1%})"
    )


def _sensitivity_table(prediction: Prediction) -> Iterator[str]:
    """Yield what else it could be."""
    yield f"\n{'if instead':<44}{'ms':>8}{'change':>9}"
    for name, ms in sensitivity(prediction.machine):
        yield f"{name:<44}{ms:>8.2f}{ms - prediction.ms:>+9.2f}"


def _stage_table(prediction: Prediction, *, whole: bool) -> Iterator[str]:
    """Yield a line for each stage: those of one name together, experts too, or each by itself.

    Bytes are what a bundle reads and writes; a bound is that of the longest stage of the name.
    """
    bundles = list(prediction.machine.ports)
    rows: dict[tuple[int, str], list[Stage]] = {}
    for stage in prediction.stages:
        name = stage.name if whole else re.sub(r"expert \d+", "expert", stage.name)
        rows.setdefault((stage.layer if whole else 0, name), []).append(stage)
    yield f"\n{'stage':<20}{'times':>6}{'compute':>11}{'cycles':>11}  {'bound':<8}" + "".join(
        f"{name + ' MB':>11}" for name in bundles
    )
    for (layer, name), stages in rows.items():
        title = f"{layer:>2} {name}" if whole and layer >= 0 else name
        moved = (
            sum(s.reads.get(bundle, 0) + s.writes.get(bundle, 0) for s in stages)
            for bundle in bundles
        )
        yield (
            f"{title:<20}{len(stages):>6}{sum(s.compute for s in stages):>11,}"
            f"{sum(s.cycles for s in stages):>11,}  {max(stages, key=lambda s: s.cycles).bound:<8}"
            + "".join(f"{size / 1e6:>11.2f}" for size in moved)
        )


if __name__ == "__main__":
    sys.exit(main())
