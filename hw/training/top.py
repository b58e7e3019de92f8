"""The training machine: read this file first, it is the block diagram (docs/training.md).

host --AXI4-Lite--> Registers --start--> CommandProcessor --queues--> one Issue per unit
                                                                         |
memory <==AXI4==> Load, Store   Stationary   Stream   Vector  <----------+
                      |   |          |          |      |  |
                      +---+-- Memories: X  W  P  V  L  S  K
                                     |          |
                               FloatArray (columns, partial sums)
"""

from typing import Any

from amaranth.hdl import Module

from moesaic.hw.frame import Frame, frame_verilog
from moesaic.hw.training.float_array import FloatArray
from moesaic.hw.training.memories import SIDES, Memories
from moesaic.hw.training.stationary import Stationary
from moesaic.hw.training.stream import Stream
from moesaic.hw.training.vector import Vector
from moesaic.models.accel import AccelSpec
from moesaic.models.training.commands import TRAINING_FIELDS


class TrainingTop(Frame):
    """One accelerator with `numbers` fp16 or bf16.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    Those of :class:`moesaic.hw.frame.Frame`.
    """

    def __init__(self, spec: AccelSpec) -> None:
        parts: dict[str, Any] = {
            "stationary": Stationary(spec),
            "stream": Stream(spec),
            "vector": Vector(spec),
            "array": FloatArray(spec),
            "memories": Memories(spec),
        }
        super().__init__(spec, TRAINING_FIELDS, parts)
        self.cells += [*parts["array"].cells, *parts["vector"].cells]

    def compute(self, m: Module, placed: dict[str, Any]) -> None:
        """Wire products and passes."""
        stationary, stream, vector, array, memories = (
            placed[name] for name in ("stationary", "stream", "vector", "array", "memories")
        )
        m.d.comb += [
            array.beat.eq(stream.beat),
            array.line.eq(stationary.line),
            memories.stream_word.eq(stream.beat.word),
            memories.held_word.eq(stationary.word),
            memories.weight_line.eq(stationary.weight_line),
            memories.index_line.eq(stationary.index_line),
            array.stream_data.eq(memories.stream_data),
            array.stationary_data.eq(memories.held_data),
            array.weight_data.eq(memories.weight_data),
            array.index_data.eq(memories.index_data),
            memories.product.valid.eq(array.write_valid),
            memories.product.slice.eq(array.write_word),
            memories.product.data.eq(array.write_data),
        ]
        for side in SIDES:
            m.d.comb += [
                getattr(memories, side).eq(getattr(vector, f"{side}_read")),
                getattr(vector, f"{side}_data").eq(getattr(memories, f"{side}_data")),
            ]
        m.d.comb += vector.x_data.eq(memories.x_data)
        for name in ("x_write", "x_fill", "v_write", "s_write", "k_write", "line", "places"):
            m.d.comb += getattr(memories, name).eq(getattr(vector, name))


def training_verilog(spec: AccelSpec) -> str:
    """Return the machine as one Verilog file; its top module is ``moesaic_top``."""
    return frame_verilog(TrainingTop(spec))
