"""Resources of an accelerator on a target: each distinct module synthesised once, times its places.

The stages are those of :func:`synthesise`. Clock frequencies need place and route, which is not
part of this.
"""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from typing import Any

from moesaic.models.accel import AccelSpec
from moesaic.models.errors import InputError
from moesaic.reports.synth_cells import LIMITS, RESOURCES, amounts
from moesaic.reports.synth_modules import batches, distinct_modules, placements
from moesaic.reports.synth_yosys import synthesise_modules
from moesaic.sim.verilog_cache import cached_verilog

TOP = "moesaic_top"
BATCH = 60_000  # characters of Verilog for one run of Yosys
WORKERS = 4  # runs at the same time, of up to a gigabyte each
FAMILIES = {"xcup": "xc", "ecp5": "LFE5"}
METHOD = (
    "Each distinct module of the hierarchy is synthesised alone by Yosys {yosys} ({command}) and "
    "counted as often as it is placed; totals are the sums. Nothing is optimised across modules, "
    "and two small functions never share a LUT: placed designs take fewer. No clock frequency is "
    "measured."
)
COMMANDS = {
    "xcup": "synth_xilinx -family xcup; registers and adders go into a DSP48E2 where they would "
    "go into a DSP48E1; index multiplexers of columns are two LUTs and a MUXF7; tests simulate "
    "these netlists beside the RTL; the plain command does neither and counts half as many LUTs "
    "again for a column",
    "ecp5": "synth_ecp5",
}

Progress = Callable[[int, int, str], None]
"""Called before each batch: modules done, modules in all, first name; once more at the end."""


def synthesise(
    spec: AccelSpec, target: str, *, pnr: bool = False, progress: Progress | None = None
) -> dict[str, Any]:
    """Return the resources of an accelerator.

    Parameters
    ----------
    spec : AccelSpec
    target : str
        ``xcup`` (UltraScale+) or ``ecp5``.
    pnr : bool
        Place and route: refused.
    progress : callable, optional

    Returns
    -------
    dict
        ``accel``, ``target``, ``part``; ``totals`` by resource; ``limits`` of the part and whether
        each total ``fits``; ``modules`` with name, count and the resources of one; ``method``;
        ``seconds`` of this call, ``yosys_seconds`` that its modules took when they were new.

    Raises
    ------
    InputError
        If the target is unknown, or place and route is asked for.
    """
    if target not in RESOURCES:
        raise InputError(f"target must be one of {', '.join(RESOURCES)}, not {target!r:.40}")
    if pnr:
        raise InputError("--pnr: place and route is not part of this version, only counts are")
    start = time.perf_counter()
    result = _count(spec, target, progress)
    return result | {"seconds": round(time.perf_counter() - start, 3)}


def _count(spec: AccelSpec, target: str, progress: Progress | None) -> dict[str, Any]:
    modules = distinct_modules(cached_verilog(spec))
    counts = placements(modules, TOP)
    totals = dict.fromkeys(RESOURCES[target], 0.0)
    rows: list[dict[str, Any]] = []
    seconds = 0.0
    lists = batches(modules.values(), BATCH)
    with ThreadPoolExecutor(min(WORKERS, os.cpu_count() or 1)) as pool:
        found = pool.map(lambda batch: synthesise_modules(batch, modules, target), lists)
        for batch in lists:
            if progress:
                progress(len(rows), len(modules), batch[0].name)
            cells, spent = next(found)
            seconds += spent
            for name, by_type in cells.items():
                used = amounts(by_type, target)
                rows.append({"name": name, "count": counts[name], **_plain(used)})
                totals = {key: total + counts[name] * used[key] for key, total in totals.items()}
    if progress:
        progress(len(modules), len(modules), "")
    limits = part_limits(spec, target)
    main = RESOURCES[target][0]
    lut = next(key for key in RESOURCES[target] if key.startswith("lut"))
    rows.sort(key=lambda row: (-row["count"] * row[lut], -row[main], row["name"]))
    return {
        "accel": spec.name,
        "target": target,
        "part": spec.board.part,
        "totals": _plain(totals),
        "limits": limits,
        "fits": {key: totals[key] <= limit for key, limit in limits.items()},
        "modules": rows,
        "method": METHOD.format(yosys=version("pyosys"), command=COMMANDS[target]),
        "yosys_seconds": round(seconds, 1),
    }


def part_limits(spec: AccelSpec, target: str) -> dict[str, int]:
    """Return what the accelerator's part offers; nothing if it is of another family."""
    board = spec.board
    if not board.part.startswith(FAMILIES[target]):
        return {}
    if target == "xcup":
        known = {"dsp": board.dsp, "bram36": board.bram36, "uram": board.uram, "lut": board.lut}
    else:
        known = {"mult18": board.dsp, "lut4": board.lut, **LIMITS.get(board.part, {})}
    return {key: limit for key, limit in known.items() if limit}


def _plain(used: dict[str, float]) -> dict[str, float]:
    """Whole numbers as integers; only block RAMs come in halves."""
    return {key: int(value) if value == int(value) else value for key, value in used.items()}
