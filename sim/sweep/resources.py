"""What an accelerator takes of its part, as far as its parameters alone say it.

This is the place of the resource model: objectives and constraints ask here and nowhere else.
Today only what can be counted is: the array's multipliers and the scratchpads' bits. The vector
unit's multipliers, logic and registers need synthesis (`moesaic synth`), so that these figures are
below what a placed design takes; `lut` and `ff` are not given at all.
"""

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.geometry import geometry

BLOCK_BITS = 36 * 1024
RESOURCES = {
    "dsp": "multipliers of the array alone, two products of 8 bits each where two tokens share",
    "bram36": "bits of the scratchpads in blocks of 36 kbit, however they are cut",
}
"""Resources that are counted, and what is counted."""


def resources(spec: AccelSpec) -> dict[str, int]:
    """Return the resources of an accelerator by the names of :data:`RESOURCES`."""
    arrays = 3 if spec.arrays == "separate" else 1
    blocks = sum(-(-geometry(spec, buffer).bits // BLOCK_BITS) for buffer in Buffer)
    return {"dsp": arrays * spec.rows * spec.columns, "bram36": blocks}


def fits(spec: AccelSpec) -> bool:
    """Whether what is counted is on the board, as far as the board names its resources."""
    limits = {"dsp": spec.board.dsp, "bram36": spec.board.bram36}
    used = resources(spec)
    return all(not limit or used[name] <= limit for name, limit in limits.items())
