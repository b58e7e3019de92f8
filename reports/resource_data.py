"""Measured machines as a file: what each kind of module takes in each of them."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from moesaic.models.accel import AccelSpec
from moesaic.models.accel_io import accel_from
from moesaic.models.resources.model import NAMES
from moesaic.reports.resource_measure import Kinds

FOLDER = Path(__file__).parent / "resource_measured"
DEFAULTS = asdict(AccelSpec(rows=4, columns=4, lanes=4, bus_bytes=4))
ALWAYS = ("name", "rows", "columns", "lanes", "bus_bytes")
NEVER = ("memory", "board", "clock_hz")
RESOURCES = ("dsp", "bram36", "lut", "ff")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One measured machine.

    Parameters
    ----------
    spec : AccelSpec
    held_back : bool
        Whether it is kept out of the fit.
    kinds : dict
        Placements, and DSP blocks, block memories, LUTs and registers of one, by kind of module.
    """

    spec: AccelSpec
    held_back: bool
    kinds: dict[str, tuple[int, dict[str, float]]]

    @property
    def totals(self) -> dict[str, float]:
        """Resources of the whole machine, as `moesaic synth` counts them."""
        return {
            name: sum(places * used[name] for places, used in self.kinds.values())
            for name in RESOURCES
        }


def machine(spec: AccelSpec, kinds: Kinds, target: str, *, held_back: bool) -> Machine:
    """Return a machine of what was measured, with the names of resources that all targets have."""
    return Machine(
        spec=spec,
        held_back=held_back,
        kinds={kind: (places, _shared(used, target)) for kind, (places, used) in kinds.items()},
    )


def _shared(used: Mapping[str, float], target: str) -> dict[str, float]:
    """Return amounts by the names of all targets; a DP16KD is half of a block of 36 kbit."""
    found = {name: used[NAMES[target][name]] for name in RESOURCES}
    return found | {"bram36": found["bram36"] * (0.5 if target == "ecp5" else 1)}


def write(target: str, machines: Sequence[Machine]) -> None:
    """Write the measurements of a target, amounts that occur again by their number."""
    amounts: dict[tuple[float, ...], int] = {}
    lines = []
    for one in machines:
        numbers = {
            kind: [places, amounts.setdefault(tuple(used.values()), len(amounts))]
            for kind, (places, used) in sorted(one.kinds.items())
        }
        row = {"held_back": one.held_back, "accel": _plain(one.spec), "kinds": numbers}
        lines.append(json.dumps(row))
    FOLDER.mkdir(exist_ok=True)
    head = json.dumps([[float(f"{value:g}") for value in amount] for amount in amounts])
    body = ",\n".join(lines)
    path = FOLDER / f"{target}.json"
    path.write_text(
        f'{{"resources": {json.dumps(RESOURCES)},\n"amounts": {head},\n"machines": [\n{body}\n]}}\n'
    )


def read(target: str) -> list[Machine]:
    """Read what `write` wrote; no machines where nothing was measured."""
    path = FOLDER / f"{target}.json"
    if not path.exists():
        return []
    content = json.loads(path.read_text(encoding="utf-8"))
    amounts = [dict(zip(content["resources"], row, strict=True)) for row in content["amounts"]]
    return [
        Machine(
            spec=accel_from(row["accel"], name=row["accel"]["name"], where=str(path)),
            held_back=row["held_back"],
            kinds={kind: (places, amounts[at]) for kind, (places, at) in row["kinds"].items()},
        )
        for row in content["machines"]
    ]


def split(machines: Iterable[Machine]) -> tuple[list[Machine], list[Machine]]:
    """Return the machines to fit on, and those held back."""
    every = list(machines)
    return [one for one in every if not one.held_back], [one for one in every if one.held_back]


def _plain(spec: AccelSpec) -> dict[str, Any]:
    """Return the fields that are not the default's; boards, clock and memory change no module."""
    values = {f.name: getattr(spec, f.name) for f in fields(spec) if f.name not in NEVER}
    values["sparsity"] = [str(mode) for mode in spec.sparsity]
    return {
        name: value
        for name, value in values.items()
        if name in ALWAYS or (value != DEFAULTS[name] and value != [])
    }
