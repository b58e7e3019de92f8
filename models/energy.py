"""Energy of a run from counts: an estimate by a table of operations and bytes, no measurement.

Counted are the array's multiply-accumulates, the bytes that memory reads and writes, and the
scratchpads' and partial sums' traffic as `scratchpad_bytes` has it. Not counted are the vector
unit, control, clock tree and leakage.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.errors import InputError
from moesaic.models.geometry import geometry
from moesaic.models.strict_yaml import read_yaml

TABLES = Path(__file__).parent / "energy_tables"
STANDARD = "horowitz-45nm"
NUMBERS = ("mac_8", "mac_16", "dram_byte")
LIMIT = 1e6  # picojoules
PICO = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyTable:
    """Picojoules of one operation or byte.

    Parameters
    ----------
    source : str
        Where the numbers are from.
    mac_8, mac_16 : float
        A multiply-accumulate of 8 or 16 bits.
    dram_byte : float
        A byte from or to memory.
    scratchpad_byte : tuple of (int, float)
        A byte from or to a memory of up to so many bytes, in ascending order.
    """

    source: str
    mac_8: float
    mac_16: float
    dram_byte: float
    scratchpad_byte: tuple[tuple[int, float], ...]

    def byte_of(self, size: int) -> float:
        """Return what a byte of an on-chip memory of `size` bytes takes."""
        for limit, energy in self.scratchpad_byte:
            if size <= limit:
                return energy
        return self.scratchpad_byte[-1][1]


def energy(
    spec: AccelSpec, table: EnergyTable, *, macs: int, bytes_read: int, bytes_written: int
) -> float:
    """Return the joules of a run: an estimate.

    Parameters
    ----------
    spec : AccelSpec
    table : EnergyTable
    macs : int
        That the array executes.
    bytes_read, bytes_written : int
        Of memory.
    """
    mac = table.mac_8 if spec.data_bits == 8 else table.mac_16
    total = macs * mac + (bytes_read + bytes_written) * table.dram_byte
    for size, moved in scratchpad_bytes(
        spec, macs=macs, bytes_read=bytes_read, bytes_written=bytes_written
    ):
        total += moved * table.byte_of(size)
    return float(total) * PICO


def scratchpad_bytes(
    spec: AccelSpec, *, macs: int, bytes_read: int, bytes_written: int
) -> tuple[tuple[int, float], ...]:
    """Return sizes of on-chip memories in bytes, and the bytes from and to each: an estimate.

    - Operands come from a memory of the size of ``act``, and each serves all columns.
    - Partial sums are read and written once for as many products as the array has rows.
    - What comes from memory is written to a scratchpad of the size of ``weight`` and read once;
      what goes there is written and read once in ``residual``.
    """
    sums = spec.psum_depth * spec.acc_bits // 8
    return (
        (geometry(spec, Buffer.ACT).bits // 8, macs * spec.data_bytes / spec.columns),
        (sums, 2 * macs / spec.rows * spec.acc_bits / 8),
        (geometry(spec, Buffer.WEIGHT).bits // 8, 2.0 * bytes_read),
        (geometry(spec, Buffer.RESIDUAL).bits // 8, 2.0 * bytes_written),
    )


def table_names() -> list[str]:
    """Return the tables that ship."""
    return sorted(path.stem for path in TABLES.glob("*.yaml"))


def load_energy(name: str | Path = STANDARD) -> EnergyTable:
    """Return a table by its name, or from a YAML file; InputError in one line otherwise."""
    text = str(name)
    if text in table_names():
        return _shipped(text)
    path = Path(text)
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(
            f"energy must be a YAML file or one of {', '.join(table_names())}, not {text!r:.80}"
        )
    return energy_from(read_yaml(path), where=text)


@lru_cache(maxsize=8)
def _shipped(name: str) -> EnergyTable:
    return energy_from(read_yaml(TABLES / f"{name}.yaml"), where=name)


def energy_from(data: object, *, where: str) -> EnergyTable:
    """Build a table from what a YAML file holds; `where` begins every message."""
    content = _mapping(data, where, ("source", "picojoules"))
    source = content["source"]
    if not isinstance(source, str) or not source.strip():
        raise InputError(f"{where}: source must say where the numbers are from, not {source!r:.60}")
    names = (*NUMBERS, "scratchpad_byte")
    numbers = _mapping(content["picojoules"], f"{where}: picojoules", names)
    sizes = numbers["scratchpad_byte"]
    if not isinstance(sizes, dict) or not sizes:
        raise InputError(
            f"{where}: scratchpad_byte must be picojoules by size in bytes, not {sizes!r:.60}"
        )
    for size in sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 0 < size <= 1 << 40:
            raise InputError(
                f"{where}: scratchpad_byte must have sizes in 1..2**40 bytes, not {size!r:.60}"
            )
    return EnergyTable(
        source=" ".join(source.split()),
        **{name: _amount(numbers[name], f"{where}: {name}") for name in NUMBERS},
        scratchpad_byte=tuple(
            (size, _amount(sizes[size], f"{where}: scratchpad_byte.{size}"))
            for size in sorted(sizes)
        ),
    )


def _mapping(data: object, where: str, names: tuple[str, ...]) -> Mapping[str, Any]:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be a mapping of keys, not {type(data).__name__}")
    for key in data:
        if key not in names:
            raise InputError(f"{where}: unknown key {key!r:.60}, allowed are {', '.join(names)}")
    for name in names:
        if name not in data:
            raise InputError(f"{where}: {name} is missing")
    return data


def _amount(value: object, where: str) -> float:
    """Return a number of picojoules."""
    plain = isinstance(value, int | float) and not isinstance(value, bool)
    if not plain or not math.isfinite(value) or not 0 <= value <= LIMIT:  # type: ignore[arg-type,operator]
        raise InputError(f"{where} must be picojoules in 0..{LIMIT:g}, not {value!r:.60}")
    return float(value)  # type: ignore[arg-type]
