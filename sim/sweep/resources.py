"""What an accelerator takes of its part: the place where objectives and constraints ask.

The figures are those of :mod:`moesaic.models.resources.model`, which counts the whole design as
`moesaic synth` does. Of machines for training only what parameters alone say is counted, and
neither LUTs nor registers.
"""

from collections.abc import Iterable, Mapping

from moesaic.models.accel import AccelSpec
from moesaic.models.numbers import INTEGER
from moesaic.models.resources import training
from moesaic.models.resources.model import predict, target_of

RESOURCES = {
    "xcup": {
        "dsp": "DSP48E2 of the whole design",
        "bram36": "block memories of 36 kbit of the whole design",
        "lut": "LUTs of the whole design, by a fitted model",
        "ff": "registers of the whole design, by the same model",
    },
    "ecp5": {
        "dsp": "MULT18X18D of the whole design",
        "bram36": "pairs of block memories of 18 kbit (DP16KD) of the whole design",
        "lut": "LUT4 of the whole design, by a fitted model",
        "ff": "registers of the whole design, by the same model",
    },
}
"""Resources that are counted, and what is counted, by family of parts."""
TRAINING_PARTS = {
    "dsp": "multipliers of the array alone",
    "bram36": "bits of all memories with their copies in blocks of 36 kbit, UltraRAM or not",
}
"""What is counted of a machine for training."""
NAMES = tuple(RESOURCES["xcup"])
REGISTERS = {"xcup": 2, "ecp5": 1}
"""Registers beside each LUT."""


def comparable(specs: Iterable[AccelSpec]) -> bool:
    """Whether resources mean what they mean in tables of UltraScale+ designs."""
    return all(spec.numbers == INTEGER and target_of(spec) == "xcup" for spec in specs)


def counted(specs: Iterable[AccelSpec]) -> dict[str, str]:
    """Return the resources that are counted of all accelerators, and what is counted of each."""
    tables = {id(table): table for table in map(_table, specs)}.values()
    names = [name for name in NAMES if all(name in table for table in tables)]
    return {name: " or ".join(dict.fromkeys(table[name] for table in tables)) for name in names}


def _table(spec: AccelSpec) -> Mapping[str, str]:
    return RESOURCES[target_of(spec)] if spec.numbers == INTEGER else TRAINING_PARTS


def resources(spec: AccelSpec) -> dict[str, int | float]:
    """Return the resources of an accelerator by the names of :func:`counted`."""
    if spec.numbers != INTEGER:
        return {"dsp": training.multipliers(spec), "bram36": training.memory_blocks(spec)}
    return {name: _plain(amount) for name, amount in predict(spec).items()}


def limits(spec: AccelSpec) -> dict[str, int]:
    """Return what the board has, as far as it names its resources."""
    board = spec.board
    known = {"dsp": board.dsp, "bram36": board.bram36, "lut": board.lut}
    known["ff"] = REGISTERS[target_of(spec)] * board.lut
    return {name: limit for name, limit in known.items() if limit}


def fits(spec: AccelSpec, used: Mapping[str, float]) -> bool:
    """Whether what is `used` is on the board, as far as the board names its resources."""
    if spec.numbers != INTEGER:
        return training.fits(spec)
    known = limits(spec)
    return all(amount <= known.get(name, amount) for name, amount in used.items())


def _plain(amount: float) -> int | float:
    """Whole numbers as integers; only block memories come in halves."""
    return int(amount) if amount == int(amount) else amount
