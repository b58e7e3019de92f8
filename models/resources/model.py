"""Resources of an accelerator from its parameters alone: in microseconds, without synthesis.

What multiplies and what remembers is counted exactly. LUTs and registers are sums over the kinds
of module, with coefficients that `python -m moesaic.reports.resource_fit` fits on synthesised
modules; docs/resources.md states the errors.
"""

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml

from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.models.numbers import INTEGER
from moesaic.models.resources.array import array_kinds
from moesaic.models.resources.blocks import blocks
from moesaic.models.resources.control import control_kinds, vector_kinds
from moesaic.models.resources.memories import memory_kinds
from moesaic.models.resources.terms import Kinds, Shape

FITTED = Path(__file__).parent / "fitted.yaml"
TARGETS = {"xcup": "xc", "ecp5": "LFE5"}
"""Families of parts, and how the names of their parts begin."""
NAMES = {
    "xcup": {"dsp": "dsp", "bram36": "bram36", "lut": "lut", "ff": "ff"},
    "ecp5": {"dsp": "mult18", "bram36": "ebr", "lut": "lut4", "ff": "ff"},
}
"""Names of resources in `moesaic synth`, by those that hold for all targets."""
SUMMED = ("dsp", "lut", "ff")
"""Resources that are sums of terms."""

Coefficients = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Coefficients by resource, key of a kind, and term."""
Merged = dict[str, list[tuple[Any, ...]]]
"""By key: terms, each with its coefficients of all resources that are summed."""


def target_of(spec: AccelSpec) -> str:
    """Return the family of the accelerator's board; ``xcup`` where it names no part."""
    for target, start in TARGETS.items():
        if spec.board.part.startswith(start):
            return target
    return "xcup"


def kinds_of(spec: AccelSpec, target: str) -> Kinds:
    """Return the kinds of module of an accelerator."""
    shape = Shape(spec=spec, target=target)
    return array_kinds(shape) | memory_kinds(shape) | control_kinds(shape) | vector_kinds(shape)


def predict(spec: AccelSpec, target: str | None = None) -> dict[str, float]:
    """Return what an accelerator takes.

    Parameters
    ----------
    spec : AccelSpec
        Of integers.
    target : str, optional
        ``xcup`` (UltraScale+), or ``ecp5`` once that is measured; by default that of the part.

    Returns
    -------
    dict
        ``dsp``, ``bram36`` (in halves), ``lut`` and ``ff``. For ``ecp5`` these are MULT18X18D,
        DP16KD, LUT4 and registers.

    Raises
    ------
    InputError
        For a target, and for machines of floating-point numbers, of which none were measured.
    """
    target = target_of(spec) if target is None else target
    if target not in fitted_targets():
        allowed = ", ".join(fitted_targets())
        raise InputError(
            f"target must be one of {allowed} for the resource model, not {target!r:.40}"
        )
    if spec.numbers != INTEGER:
        raise InputError(f"numbers must be {INTEGER} for the resource model, not {spec.numbers!r}")
    return evaluate(spec, target, _merged(target))


def evaluate(spec: AccelSpec, target: str, merged: Merged) -> dict[str, float]:
    """Return what `predict` does, with coefficients of one's own."""
    dsp = lut = ff = 0.0
    for places, key, terms in kinds_of(spec, target).values():
        for term, *weights in merged.get(key, ()):
            amount = places * terms[term]
            dsp += amount * weights[0]
            lut += amount * weights[1]
            ff += amount * weights[2]
    return {
        "dsp": float(round(dsp)),
        "bram36": blocks(Shape(spec=spec, target=target)),
        "lut": float(round(lut)),
        "ff": float(round(ff)),
    }


def merge(fitted: Coefficients) -> Merged:
    """Return coefficients by key, each term once."""
    out: Merged = {}
    for key in {key for by_key in fitted.values() for key in by_key}:
        mine = [fitted[resource].get(key, {}) for resource in SUMMED]
        terms = sorted({term for found in mine for term in found})
        out[key] = [(term, *(found.get(term, 0.0) for found in mine)) for term in terms]
    return out


@lru_cache(maxsize=1)
def _read() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(FITTED.read_text(encoding="utf-8"))
    return content


def fitted_targets() -> tuple[str, ...]:
    """Return the families that machines were measured of."""
    return tuple(_read())


@lru_cache(maxsize=2)
def _merged(target: str) -> Merged:
    return merge(coefficients(target))


def coefficients(target: str) -> Coefficients:
    """Return the fitted coefficients of a target."""
    found: Coefficients = _read()[target]["coefficients"]
    return found


def stated_errors(target: str) -> Mapping[str, Mapping[str, float]]:
    """Return the largest and the mean error on held-back machines, by resource, as fractions."""
    found: Mapping[str, Mapping[str, float]] = _read()[target]["held_back"]["errors"]
    return found
