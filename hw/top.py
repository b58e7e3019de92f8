"""The accelerator: read this file first, it is the block diagram.

host --AXI4-Lite--> Registers --start--> CommandProcessor --queues--> one Issue per unit
                                                                         |
memory <==AXI4==> Load, Store   Stationary   Stream   Vector  <----------+
                      |   |          |          |        |  |
                      |   |          |       Gather <-------+-- Queues (tokens of each expert)
                      |   |          |          |        |
                      +---+---- Memories (scratchpads) --+
                                     |          |
                                 Array (columns, lanes)
"""

from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import connect

from moesaic.hw.array import Array
from moesaic.hw.frame import Frame, frame_verilog
from moesaic.hw.gather import Gather
from moesaic.hw.memories import Memories
from moesaic.hw.queues import Queues
from moesaic.hw.separate_arrays import SeparateArrays
from moesaic.hw.stationary import Stationary
from moesaic.hw.stream import Stream
from moesaic.hw.vector import Vector
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import FIELDS


class Top(Frame):
    """One integer accelerator with its two memory channels, its registers and its interrupt.

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
            "vector": Vector(spec, lane_module="moesaic_vector_lane"),
            "array": Array(spec) if spec.arrays == "unified" else SeparateArrays(spec),
            "memories": Memories(spec),
        }
        if spec.experts:
            parts |= {"gather": Gather(spec), "queues": Queues(spec)}
        super().__init__(spec, FIELDS, parts)
        self.cells += [*parts["array"].cells, *parts["vector"].cells]

    def compute(self, m: Module, placed: dict[str, Any]) -> None:
        """Wire routing, products and vectors."""
        load, stationary, stream, vector, array, memories = (
            placed[name] for name in ("load", "stationary", "stream", "vector", "array", "memories")
        )

        # routing of tokens to experts
        beat = stream.beat
        if self.spec.experts:
            gather, queues = placed["gather"], placed["queues"]
            connect(m, vector.route, queues.route)
            connect(m, load.queue, queues.load)
            connect(m, stationary.queue, queues.stationary)
            connect(m, stream.queue, queues.stream)
            connect(m, gather.queue, queues.read)
            m.d.comb += [queues.start.eq(vector.route_start), gather.i.eq(stream.beat)]
            beat = gather.o

        # products
        m.d.comb += [
            array.beat.eq(beat),
            array.line.eq(stationary.line),
            memories.stream_word.eq(beat.word),
            memories.stream_word1.eq(beat.word1),
            memories.weight_line.eq(stationary.weight_line),
            memories.index_line.eq(stationary.index_line),
            memories.param_column.eq(stationary.param_column),
            memories.kv_word.eq(stationary.kv_word),
            array.words0.eq(memories.words0),
            array.words1.eq(memories.words1),
            array.words2.eq(memories.words2),
            array.weight_data.eq(memories.weight_data),
            array.index_data.eq(memories.index_data),
            array.param_data.eq(memories.param_data),
            array.kv_data.eq(memories.kv_data),
            memories.residual_en.eq(array.residual_en),
            memories.residual_word.eq(array.residual_word),
            memories.residual_word1.eq(array.residual_word1),
            array.residual_data.eq(memories.residual_data),
            memories.rowstat_row.eq(array.rowstat_row),
            array.rowstat_data.eq(memories.rowstat_data),
            memories.write_valid.eq(array.write_valid),
            memories.write_dest.eq(array.write_dest),
            memories.write_word.eq(array.write_word),
            memories.write_word1.eq(array.write_word1),
            memories.write_slice.eq(array.write_slice),
            memories.write_narrow.eq(array.write_narrow),
            memories.write_wide.eq(array.write_wide),
        ]

        # vectors
        connect(m, vector.read, memories.vector_read)
        connect(m, vector.norm_read, memories.norm_read)
        connect(m, vector.write, memories.vector_write)
        connect(m, vector.rowstat, memories.rowstat_write)
        m.d.comb += [
            vector.read_data.eq(memories.vector_data),
            vector.norm_data.eq(memories.norm_data),
        ]


def top_verilog(spec: AccelSpec) -> str:
    """Return the accelerator as one Verilog file; its top module is ``moesaic_top``."""
    return frame_verilog(Top(spec))
