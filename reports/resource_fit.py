"""Fit the resource model on synthesised modules, and state its error on machines held back.

``python -m moesaic.reports.resource_fit`` fits on the measurements that are kept beside this file,
writes ``models/resources/fitted.yaml`` and prints the tables of ``docs/resources.md``. With
``--measure`` it first measures what is missing, with Yosys, which takes an hour.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence

import numpy as np
import yaml
from scipy.optimize import nnls

from moesaic.models.resources.model import FITTED, SUMMED, TARGETS, evaluate, kinds_of, merge
from moesaic.models.resources.terms import Terms
from moesaic.reports.resource_data import RESOURCES, Machine, machine, read, split, write
from moesaic.reports.resource_designs import fitted, held_back
from moesaic.reports.resource_measure import Meter

SMALL = 20  # LUTs and registers below which an error is not relative to them
SLIGHT = 3e-3  # cost of a term that makes up a whole module
DIGITS = 4
COMMON = ("one", "int16", "tokens", "experts")  # terms of DSP blocks
HEAD = "# Written by `python -m moesaic.reports.resource_fit`; docs/resources.md says more.\n"
Samples = dict[str, list[tuple[Terms, Mapping[str, float]]]]
Fit = dict[str, dict[str, dict[str, float]]]
Errors = dict[str, dict[str, float]]


def samples(machines: Sequence[Machine], target: str) -> Samples:
    """Return terms and amounts of every distinct module, by the key of its coefficients.

    Raises
    ------
    ValueError
        If a machine has a kind of module that the model does not know, or the other way round, or
        another number of one.
    """
    found: dict[str, dict[tuple[object, ...], tuple[Terms, Mapping[str, float]]]] = {}
    for one in machines:
        kinds = kinds_of(one.spec, target)
        counted = {kind: places for kind, (places, _) in one.kinds.items()}
        known = {kind: part.places for kind, part in kinds.items()}
        if counted != known:
            differ = sorted(set(counted.items()) ^ set(known.items()))
            raise ValueError(f"{one.spec.name}: modules differ: {differ[:4]}")
        for kind, (_, key, terms) in kinds.items():
            used = one.kinds[kind][1]
            sample = (*terms.values(), *used.values())
            found.setdefault(key, {})[sample] = (terms, used)
    return {key: list(by_sample.values()) for key, by_sample in found.items()}


def fit(machines: Sequence[Machine], target: str) -> Fit:
    """Return coefficients by resource, key and term: least squares without negative ones.

    Each module's error counts relative to its size. All terms but the constant have a slight cost,
    so that what the modules do not tell apart is constant. DSP blocks come out as whole numbers.
    """
    out: Fit = {name: {} for name in SUMMED}
    for key, modules in sorted(samples(machines, target).items()):
        for name in SUMMED:
            terms = [term for term in modules[0][0] if name != "dsp" or counts(key, term)]
            matrix = np.array([[float(row[term]) for term in terms] for row, _ in modules])
            amounts = np.array([used[name] for _, used in modules], dtype=float)
            weights = 1 / np.maximum(amounts, SMALL)
            if not terms:
                continue
            scaled = matrix * weights[:, np.newaxis]
            slight = np.diag(
                [0.0 if t == "one" else SLIGHT * scaled[:, i].mean() for i, t in enumerate(terms)]
            )
            found, _ = nnls(
                np.vstack([scaled, slight]),
                np.concatenate([amounts * weights, np.zeros(len(terms))]),
                maxiter=5000,
            )
            digits = 0 if name == "dsp" else DIGITS
            rounded = {t: round(float(x), digits) for t, x in zip(terms, found, strict=True)}
            out[name][key] = {term: x for term, x in rounded.items() if x}
    return {name: {k: c for k, c in by_key.items() if c} for name, by_key in out.items()}


def counts(key: str, term: str) -> bool:
    """Whether DSP blocks of a kind of module may grow with a term: they have few reasons to."""
    return term in ("rows", "pairs") if key.startswith("column") else term in COMMON


def relative_errors(machines: Sequence[Machine], target: str, found: Fit) -> list[Errors]:
    """Return synthesis, model and the relative error of each machine, by resource."""
    rows, merged = [], merge(found)
    for one in machines:
        model = evaluate(one.spec, target, merged)
        rows.append(
            {
                name: {"synth": real, "model": model[name], "error": model[name] / real - 1}
                for name, real in one.totals.items()
            }
        )
    return rows


def stated(rows: Sequence[Errors]) -> Errors:
    """Return the largest and the mean size of errors, by resource."""
    out = {}
    for name in RESOURCES:
        sizes = [abs(row[name]["error"]) for row in rows]
        out[name] = {"max": round(max(sizes), 4), "mean": round(sum(sizes) / len(sizes), 4)}
    return out


def table(machines: Sequence[Machine], rows: Sequence[Errors]) -> str:
    """Return synthesis and error of machines as a table of Markdown."""
    lines = [
        "| machine | rows x columns, lanes | "
        + " | ".join(f"{n} | error" for n in RESOURCES)
        + " |",
        "|---|---|" + "---:|" * (2 * len(RESOURCES)),
    ]
    for one, row in zip(machines, rows, strict=True):
        spec = one.spec
        tokens = ", two tokens" if spec.tokens_per_beat == 2 else ""
        size = f"{spec.rows} x {spec.columns}, {spec.lanes}; int{spec.data_bits}{tokens}"
        cells = [f"{row[n]['synth']:,g} | {100 * row[n]['error']:+.1f} %" for n in RESOURCES]
        lines.append(f"| {spec.name} | {size} | {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(near: Errors, far: Errors) -> str:
    """Return the largest and mean errors as a table of Markdown."""
    lines = [
        "| | " + " | ".join(f"{name}, largest | mean" for name in RESOURCES) + " |",
        "|---|" + "---:|" * (2 * len(RESOURCES)),
    ]
    for group, errors in (("held back", far), ("fitted on", near)):
        sizes = (errors[name][size] for name in RESOURCES for size in ("max", "mean"))
        lines.append(f"| {group} | {' | '.join(f'{100 * size:.2f} %' for size in sizes)} |")
    return "\n".join(lines)


def measure(target: str, designs: int | None) -> None:
    """Synthesise the machines of the design, as far as modules are not known, and write them."""
    meter = Meter(target=target, log=lambda text: print(text, file=sys.stderr, flush=True))
    machines = []
    for specs, held in ((held_back(target), True), (fitted(), False)):
        for number, spec in enumerate(specs):
            if designs is None or number < designs:
                machines.append(machine(spec, meter.measure(spec), target, held_back=held))
    write(target, machines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Fit each target that was measured."""
    parser = argparse.ArgumentParser(prog="resource_fit", description=__doc__)
    parser.add_argument("--measure", choices=sorted(TARGETS), help="a target to measure first")
    parser.add_argument("--designs", type=int, help="measure only so many machines of each group")
    chosen = parser.parse_args(arguments)
    if chosen.measure:
        measure(chosen.measure, chosen.designs)
    content = {}
    for target in TARGETS:
        learnt, held = split(read(target))
        if not learnt or not held:
            print(f"### {target}: not measured\n")
            continue
        found = fit(learnt, target)
        on_fitted, on_held = (relative_errors(group, target, found) for group in (learnt, held))
        far, near = stated(on_held), stated(on_fitted)
        content[target] = {
            "fitted_on": {"machines": [one.spec.name for one in learnt], "errors": near},
            "held_back": {"machines": [one.spec.name for one in held], "errors": far},
            "coefficients": found,
        }
        print(f"### {target}: {len(learnt)} machines fitted on, {len(held)} held back\n")
        print(table(held, on_held))
        print()
        print(summary(near, far))
        print()
    body = yaml.safe_dump(content, sort_keys=False, default_flow_style=None, width=100)
    FITTED.write_text(HEAD + body, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
