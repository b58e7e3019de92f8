"""What each cell of a synthesised netlist takes of the part: one table for each target."""

from collections.abc import Mapping

Amounts = dict[str, float]

RESOURCES = {
    "xcup": ("dsp", "bram36", "uram", "lut", "lutram", "muxf", "carry", "ff"),
    "ecp5": ("mult18", "ebr", "lut4", "lutram", "carry", "ff"),
}
"""Resources in the order of a table. `lutram` is the part of `lut` (`lut4`) that stores."""


def _lutram(luts: int, name: str = "lut") -> Amounts:
    return {name: luts, "lutram": luts}


CELLS: dict[str, dict[str, Amounts]] = {
    "xcup": {
        **{f"LUT{inputs}": {"lut": 1} for inputs in range(1, 7)},
        "INV": {"lut": 1},
        **{f"MUXF{inputs}": {"muxf": 1} for inputs in (7, 8, 9)},
        "CARRY4": {"carry": 1},  # its LUTs are cells of their own
        "CARRY8": {"carry": 1},
        **{name: {"ff": 1} for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        **{f"{name}_1": {"ff": 1} for name in ("FDRE", "FDSE", "FDCE", "FDPE")},
        "SRL16E": _lutram(1),
        "SRLC16E": _lutram(1),
        "SRLC32E": _lutram(1),
        "RAM32X1S": _lutram(1),
        "RAM64X1S": _lutram(1),
        "RAM128X1S": _lutram(2),
        "RAM256X1S": _lutram(4),
        "RAM512X1S": _lutram(8),
        "RAM32X1D": _lutram(2),
        "RAM64X1D": _lutram(2),
        "RAM128X1D": _lutram(4),
        "RAM256X1D": _lutram(8),
        "RAM32M": _lutram(4),
        "RAM64M": _lutram(4),
        "RAM32M16": _lutram(8),
        "RAM64M8": _lutram(8),
        "RAMB18E2": {"bram36": 0.5},
        "RAMB36E2": {"bram36": 1},
        "URAM288": {"uram": 1},
        "DSP48E2": {"dsp": 1},
        "VCC": {},
        "GND": {},
    },
    "ecp5": {
        "LUT4": {"lut4": 1},
        "PFUMX": {},  # joins the two LUTs of a slice
        "L6MUX21": {},  # joins slices
        "CCU2C": {"lut4": 2, "carry": 1},  # both LUTs of a slice
        "TRELLIS_FF": {"ff": 1},
        "TRELLIS_DPR16X4": _lutram(6, "lut4"),  # four LUTs store, two address the write
        "MULT18X18D": {"mult18": 1},
        "DP16KD": {"ebr": 1},
        "PDPW16KD": {"ebr": 1},
        "VHI": {},
        "VLO": {},
    },
}
"""Amounts by target and cell type, as the vendors' libraries describe the cells."""

LIMITS = {"LFE5UM5G-85F": {"ebr": 208}}
"""What a part offers beyond that which an accelerator's file says."""


def amounts(cells: Mapping[str, int], target: str) -> Amounts:
    """Return what a netlist takes.

    Raises
    ------
    ValueError
        If a type is not in the table: counting it as nothing would make the netlist look small.
    """
    table = CELLS[target]
    unknown = sorted(set(cells) - set(table))
    if unknown:
        raise ValueError(f"{target}: no such cell type in the table: {', '.join(unknown)}")
    total: Amounts = dict.fromkeys(RESOURCES[target], 0)
    for cell, count in cells.items():
        for resource, amount in table[cell].items():
            total[resource] += count * amount
    return total
