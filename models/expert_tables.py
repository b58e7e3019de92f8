"""Tables of docs/models.md about experts: python -m moesaic.models.expert_tables [TABLE ...]."""

import argparse
import sys
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from moesaic.models.accuracy import float_results
from moesaic.models.canvases import BACKGROUND, CANVAS_CLASSES, TEST, make_canvases
from moesaic.models.input_matrix import image_layer
from moesaic.models.moe_config import SEEDED_MOE_PRESETS, MoeVitConfig
from moesaic.models.routing_statistics import (
    choices_by_class,
    class_information,
    queue_lengths,
    used_experts,
)
from moesaic.models.weights_io import load_weights_of
from moesaic.models.zoo import CANVAS_MODELS, TEST_CANVASES, load_model

IMAGES = 4  # made-up images of each seed
SEEDS = 3
ROUTED = "moevit-mnist"


def _row(cells: Iterable[object]) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def _table(head: list[str], rows: Iterable[Iterable[object]]) -> Iterator[str]:
    yield _row(head)
    yield _row(["---"] * len(head))
    yield from map(_row, rows)


def metrics_table() -> Iterator[str]:
    """Both tasks on the test canvases, with experts and without, in float; and the difference.

    Differences have the standard error of their mean over canvases.
    """
    head = ["network", "MACs", "parameters", "digit", "digit, on digits", "depth", "on digits"]
    right, squares = (_goodness(task) for task in (0, 1))
    rows = []
    for place, name in enumerate(CANVAS_MODELS):
        config = load_weights_of(name, MoeVitConfig)[1]
        cells = [f"`{name}`", f"{config.macs(0):,}", f"{config.parameters:,}"]
        cells += [f"{all_[place].mean():.2%}" for all_ in right]
        cells += [f"{np.sqrt(all_[place].mean()):.4f}" for all_ in squares]
        rows.append(cells)
    cells = ["difference", "", ""]
    for one, other in right:
        cells.append("{:+.2f} ± {:.2f} points".format(*(100 * _mean_and_error(one - other))))
    for one, other in squares:
        scale = np.sqrt(one.mean()) + np.sqrt(other.mean())  # a² - b² = (a - b)(a + b)
        cells.append("{:+.4f} ± {:.4f}".format(*(_mean_and_error(one - other) / scale)))
    yield from _table(head, [*rows, cells])


def _goodness(task: int) -> list[list[NDArray[np.float64]]]:
    """Return each canvas's share of right patches, or mean squared error, of both networks.

    Once over all patches, once over those that show a digit.
    """
    out: list[list[NDArray[np.float64]]] = [[], []]
    for name in CANVAS_MODELS:
        model = load_model(name, task)
        canvases = make_canvases(image_layer(model.network), TEST, TEST_CANVASES)
        results = float_results(model.network, canvases.images, batch=20)
        if task:
            value = (results[..., 0].astype(np.float64) - canvases.depths) ** 2
        else:
            value = (results.argmax(axis=-1) == canvases.digits).astype(np.float64)
        shown = (canvases.digits != BACKGROUND).astype(np.float64)
        out[0].append(value.mean(axis=1))
        out[1].append((value * shown).mean(axis=1) / shown.mean())
    return out


def _mean_and_error(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean of independent values and its standard error."""
    return np.array([values.mean(), values.std(ddof=1) / len(values) ** 0.5])


def specialisation_table() -> Iterator[str]:
    """Which patches each expert gets, by gate and task."""
    digits = [str(digit) for digit in range(BACKGROUND)]
    rows: list[list[str]] = []
    for task in (0, 1):
        model = load_model(ROUTED, task)
        canvases = make_canvases(image_layer(model.network), TEST, TEST_CANVASES)
        tables = choices_by_class(model.network, canvases.images, canvases.digits, CANVAS_CLASSES)
        for gate, table in tables.items():
            rows += [
                [gate.split(".")[1], str(task), str(expert), *_shares(counts, table)]
                for expert, counts in enumerate(table)
            ]
    head = ["block", "task", "expert", "of all", "background", *digits]
    yield from _table(head, rows)


def _shares(counts: NDArray[np.int64], table: NDArray[np.int64]) -> list[str]:
    """Return an expert's share of all choices, then of each class's choices, in percent."""
    by_class = counts / np.maximum(table.sum(axis=0), 1)
    shares = [counts.sum() / table.sum(), by_class[BACKGROUND], *by_class[:BACKGROUND]]
    return [f"{100 * share:.0f}" for share in shares]


def information_table() -> Iterator[str]:
    """How much an expert's number says about the class of its patch, in bits."""
    rows = []
    for task in (0, 1):
        model = load_model(ROUTED, task)
        canvases = make_canvases(image_layer(model.network), TEST, TEST_CANVASES)
        shuffled = np.random.default_rng(0).permuted(canvases.digits, axis=1)
        pairs = [
            choices_by_class(model.network, canvases.images, classes, CANVAS_CLASSES)
            for classes in (canvases.digits, shuffled)
        ]
        for gate, table in pairs[0].items():
            bits, chance = (
                [class_information(t), class_information(t[:, :BACKGROUND])]
                for t in (table, pairs[1][gate])
            )
            rows.append([gate.split(".")[1], task, *(f"{value:.3f}" for value in bits + chance)])
    head = ["block", "task", "classes", "digits alone", "classes, shuffled", "digits, shuffled"]
    yield from _table(head, rows)


def queue_table() -> Iterator[str]:
    """How uneven the routing of the made-up networks is, over several seeds of images."""
    rows = []
    for name, config in SEEDED_MOE_PRESETS.items():
        for task in range(config.tasks):
            model = load_model(name, task)
            images = np.concatenate([model.images(IMAGES, seed)[0] for seed in range(SEEDS)])
            lengths = queue_lengths(model.network, images)
            used = used_experts(lengths)
            every = np.stack(list(lengths.values()))
            longest, one = every.max(axis=2), (every == 1).sum(axis=2)
            rows.append(
                [
                    f"`{name}`",
                    task,
                    f"{used.mean():.1f}",
                    f"{used.min()} to {used.max()}",
                    f"{one.mean():.1f}",
                    f"{np.median(longest):.0f}",
                    longest.max(),
                ]
            )
    head = ["network", "task", "experts used of 16", "range", "of one token", "longest queue"]
    yield from _table([*head, "longest of all"], rows)


TABLES = {
    "metrics": metrics_table,
    "specialisation": specialisation_table,
    "information": information_table,
    "queues": queue_table,
}


def main() -> int:
    """Print the tables that are asked for, all by default."""
    parser = argparse.ArgumentParser(
        prog="python -m moesaic.models.expert_tables", description=__doc__
    )
    parser.add_argument("table", nargs="*", metavar="TABLE", help=", ".join(TABLES))
    options = parser.parse_args()
    for name in options.table or TABLES:
        if name not in TABLES:
            sys.stderr.write(f"TABLE must be one of {', '.join(TABLES)}, not {name!r:.60}\n")
            return 2
    for name in options.table or TABLES:
        sys.stdout.writelines(f"{line}\n" for line in TABLES[name]())
        sys.stdout.write("\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
