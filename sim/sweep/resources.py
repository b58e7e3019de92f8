"""What an accelerator takes of its part: the place where objectives and constraints ask.

The figures are those of :mod:`moesaic.models.resources.model`, which counts the whole design as
`moesaic synth` does. Where that has not measured a board's family, only what parameters alone say
is counted, and neither LUTs nor registers.
"""

from collections.abc import Iterable, Mapping

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.geometry import geometry
from moesaic.models.numbers import INTEGER
from moesaic.models.resources import training
from moesaic.models.resources.model import fitted_targets, predict, target_of

RESOURCES = {
    "dsp": "DSP48E2 of the whole design",
    "bram36": "block memories of 36 kbit of the whole design",
    "lut": "LUTs of the whole design, by a fitted model",
    "ff": "registers of the whole design, by the same model",
}
"""Resources that are counted, and what is counted."""
PARTS = {
    "dsp": "multipliers of the array alone, two products of 8 bits each where two tokens share",
    "bram36": "bits of the scratchpads in blocks of 36 kbit, however they are cut",
}
"""What is counted where a board's family was not measured."""
TRAINING_PARTS = {
    "dsp": "multipliers of the array alone",
    "bram36": "bits of all memories with their copies in blocks of 36 kbit, UltraRAM or not",
}
"""What is counted of a machine for training."""
BLOCK_BITS = 36 * 1024
REGISTERS = 2  # beside each LUT of UltraScale+


def whole_design(specs: Iterable[AccelSpec]) -> bool:
    """Whether whole designs are counted: of integers, on boards of families that were measured."""
    return all(spec.numbers == INTEGER and target_of(spec) in fitted_targets() for spec in specs)


def counted(*, whole: bool, trains: bool = False) -> dict[str, str]:
    """Return the resources that are counted, and what is counted of each."""
    parts = TRAINING_PARTS if trains else PARTS
    return RESOURCES if whole else parts


def resources(spec: AccelSpec, *, whole: bool = True) -> dict[str, int | float]:
    """Return the resources of an accelerator by the names of :func:`counted`."""
    if spec.numbers != INTEGER:
        return {"dsp": training.multipliers(spec), "bram36": training.memory_blocks(spec)}
    if whole:
        return {name: _plain(amount) for name, amount in predict(spec).items()}
    arrays = 3 if spec.arrays == "separate" else 1
    blocks = sum(-(-geometry(spec, buffer).bits // BLOCK_BITS) for buffer in Buffer)
    return {"dsp": arrays * spec.rows * spec.columns, "bram36": blocks}


def limits(spec: AccelSpec) -> dict[str, int]:
    """Return what the board has, as far as it names its resources."""
    board = spec.board
    known = {"dsp": board.dsp, "bram36": board.bram36, "lut": board.lut}
    known["ff"] = REGISTERS * board.lut
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
