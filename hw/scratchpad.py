"""A scratchpad: wide words that are read whole and written slice by slice."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from moesaic.models.pipeline import log2


class Scratchpad(wiring.Component):
    """One read and one write a cycle; data two cycles after the address; writes land at once.

    Parameters
    ----------
    depth : int
        Words.
    width : int
        Bits of a word.
    granule : int
        Bits of the smallest slice that is written alone; each granule is a memory of its own.

    Members
    -------
    read_word, read_data : address, and ``RAM_READ`` cycles later the word.
    write_word, write_mask, write_data : address, one enable for each granule, data.
    """

    def __init__(self, *, depth: int, width: int, granule: int) -> None:
        self.depth, self.width, self.granule = depth, width, granule
        super().__init__(
            {
                "read_word": In(log2(depth)),
                "read_data": Out(width),
                "write_word": In(log2(depth)),
                "write_mask": In(width // granule),
                "write_data": In(width),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = []
        for i in range(self.width // self.granule):
            memory = Memory(shape=self.granule, depth=self.depth, init=[])
            m.submodules[f"slice{i}"] = memory
            read, write = memory.read_port(), memory.write_port()
            m.d.comb += [
                read.addr.eq(self.read_word),
                write.addr.eq(self.write_word),
                write.en.eq(self.write_mask[i]),
                write.data.eq(self.write_data.word_select(i, self.granule)),
            ]
            word = Signal(self.granule, name=f"word{i}")
            m.d.sync += word.eq(read.data)
            words.append(word)
        m.d.comb += self.read_data.eq(Cat(*words))
        return m
