"""What an accelerator takes of its part: the place where objectives and constraints ask.

The figures are those of :mod:`moesaic.models.resources.model`, which counts the whole design as
`moesaic synth` does. A board of Lattice has the same names, in parts of its own.
"""

from collections.abc import Mapping

from moesaic.models.accel import AccelSpec
from moesaic.models.numbers import INTEGER
from moesaic.models.resources import training
from moesaic.models.resources.model import predict, target_of

RESOURCES = {
    "dsp": "DSP48E2 (ECP5: MULT18X18D) of the whole design",
    "bram36": "block memories of 36 kbit (ECP5: two DP16KD count as one) of the whole design",
    "lut": "LUT6 (ECP5: LUT4) of the whole design, by a fitted model: docs/resources.md",
    "ff": "registers of the whole design, by the same model",
}
"""Resources that are counted, and what is counted."""
WHOLE_DESIGN = tuple(RESOURCES)
"""Those that count a whole design, as published tables do."""
TRAINING_RESOURCES = {
    "dsp": "multipliers of the array alone",
    "bram36": "bits of all memories with their copies in blocks of 36 kbit, UltraRAM or not",
}
"""Resources of a machine for training: what can be counted without synthesis."""
REGISTERS = {"xcup": 2, "ecp5": 1}
"""Registers beside each LUT of a part."""


def resources(spec: AccelSpec) -> dict[str, int | float]:
    """Return the resources of an accelerator by the names of :data:`RESOURCES`.

    Those of a machine for training have the names of :data:`TRAINING_RESOURCES`.
    """
    if spec.numbers != INTEGER:
        return {"dsp": training.multipliers(spec), "bram36": training.memory_blocks(spec)}
    return {name: _plain(amount) for name, amount in predict(spec).items()}


def limits(spec: AccelSpec) -> dict[str, int]:
    """Return what the board has, as far as it names its resources."""
    board = spec.board
    registers = REGISTERS[target_of(spec)] * board.lut
    known = {"dsp": board.dsp, "bram36": board.bram36, "lut": board.lut, "ff": registers}
    return {name: limit for name, limit in known.items() if limit}


def fits(spec: AccelSpec, used: Mapping[str, float]) -> bool:
    """Whether `used` is on the board, as far as the board names its resources."""
    if spec.numbers != INTEGER:
        return training.fits(spec)
    return all(used[name] <= limit for name, limit in limits(spec).items())


def _plain(amount: float) -> int | float:
    """Whole numbers as integers; only block memories come in halves."""
    return int(amount) if amount == int(amount) else amount
