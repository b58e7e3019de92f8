"""All scratchpads, and who reads and writes each: the on-chip memory map in one place."""

from dataclasses import dataclass

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.array import ROWSTAT_BITS
from moesaic.hw.buffer_port import buffer_read, buffer_write
from moesaic.hw.delay import delay
from moesaic.hw.scratchpad import Scratchpad
from moesaic.hw.vector_ports import NORM_READ, ROWSTAT_WRITE, VECTOR_READ, vector_write
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.geometry import Geometry, geometry
from moesaic.models.pipeline import RAM_READ, log2


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """One writer of a scratchpad: `size` bits of one bank (or of all) go to slice `slice`."""

    valid: Value
    words: tuple[Value, ...]  # the same for all banks, or one each
    slice: Value
    size: int
    data: Value
    bank: Value | None = None  # None: all banks at once, their data side by side
    banks: Value | None = None  # which of all banks


class Memories(wiring.Component):
    """The scratchpads with their ports; what may not meet is kept apart by the mapper.

    Reads take ``RAM_READ`` cycles, the store's one more; writes land at once.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    load : ``In``, the load unit's beats.
    store, store_data : the store unit's read of the residual scratchpad.
    stream_word, stream_word1, words0, words1, words2 : operands of input, act and vec; only vec
        has a word of its own in bank 1.
    weight_line, index_line, param_column, kv_word and their data : the stationary loader's.
    residual_en, residual_word, residual_word1, residual_data, rowstat_row, rowstat_data : the
        array's.
    write_valid ... write_wide : the array's results.
    vector_read, vector_data, norm_read, norm_data, vector_write, rowstat_write : the vector unit's.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        shapes = {buffer: geometry(spec, buffer) for buffer in Buffer}
        # Memories for vec and residual: banks need words of their own where tokens are queued.
        self.parts = spec.tokens_per_beat if spec.experts else 1
        self.shapes: dict[Buffer, Geometry] = shapes
        tokens, bits, container = spec.tokens_per_beat, spec.data_bits, 8 * spec.wide_bytes
        super().__init__(
            {
                "load": In(buffer_write(spec.bus_bytes)),
                "store": In(buffer_read()),
                "store_data": Out(8 * spec.bus_bytes),
                "stream_word": In(24),
                "stream_word1": In(24),
                **{f"words{i}": Out(tokens * spec.act_word * bits) for i in range(3)},
                "weight_line": In(24),
                "weight_data": Out(shapes[Buffer.WEIGHT].width),
                "index_line": In(24),
                "index_data": Out(shapes[Buffer.INDEX].width),
                "param_column": In(16),
                "param_data": Out(shapes[Buffer.PARAM].width),
                "kv_word": In(24),
                "kv_data": Out(shapes[Buffer.KV].width),
                "residual_en": In(1),
                "residual_word": In(24),
                "residual_word1": In(24),
                "residual_data": Out(shapes[Buffer.RESIDUAL].width),
                "rowstat_row": In(16),
                "rowstat_data": Out(tokens * ROWSTAT_BITS),
                "write_valid": In(tokens),
                "write_dest": In(4),
                "write_word": In(24),
                "write_word1": In(24),
                "write_slice": In(8),
                "write_narrow": In(tokens * spec.columns * bits),
                "write_wide": In(tokens * spec.columns * container),
                "vector_read": In(VECTOR_READ),
                "vector_data": Out(spec.wide_word * container),
                "norm_read": In(NORM_READ),
                "norm_data": Out(64 * spec.lanes),
                "vector_write": In(vector_write(spec)),
                "rowstat_write": In(ROWSTAT_WRITE),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        reads = {
            Buffer.WEIGHT: self.weight_line,
            Buffer.PARAM: self.param_column >> log2(max(8, spec.bus_bytes) // 8),
            Buffer.NORM: self.norm_read.word,
            Buffer.INPUT: self.stream_word,
            Buffer.ACT: self.stream_word,
            Buffer.KV: self.kv_word,
            Buffer.SCORE: self.vector_read.word,
        }
        if spec.sparsity:
            reads[Buffer.INDEX] = self.index_line
        by_bank = {
            Buffer.VEC: (self.stream_word, self.stream_word1),
            Buffer.RESIDUAL: self._residual_addresses(m),
        }
        data = {buffer: self._memory(m, buffer, (word,)) for buffer, word in reads.items()}
        for buffer, words in by_bank.items():
            data[buffer] = self._memory(m, buffer, words[: self.parts])
        rowstat = Scratchpad(
            depth=spec.rowstat_rows,
            width=spec.tokens_per_beat * ROWSTAT_BITS,
            granule=ROWSTAT_BITS,
        )
        m.submodules.rowstat = rowstat
        stat = self.rowstat_write
        m.d.comb += [
            rowstat.read_word.eq(self.rowstat_row),
            rowstat.write_word.eq(stat.row),
            rowstat.write_mask.eq(
                Cat(*(stat.valid & (stat.bank == b) for b in range(spec.tokens_per_beat)))
            ),
            rowstat.write_data.eq(Cat(stat.multiplier, stat.shift).replicate(spec.tokens_per_beat)),
            self.rowstat_data.eq(rowstat.read_data),
            self.words0.eq(data[Buffer.INPUT]),
            self.words1.eq(data[Buffer.ACT]),
            self.words2.eq(data[Buffer.VEC]),
            self.weight_data.eq(data[Buffer.WEIGHT]),
            self.index_data.eq(data.get(Buffer.INDEX, 0)),
            self.param_data.eq(data[Buffer.PARAM]),
            self.norm_data.eq(data[Buffer.NORM]),
            self.kv_data.eq(data[Buffer.KV]),
            self.residual_data.eq(data[Buffer.RESIDUAL]),
        ]
        self._vector_data(m, data[Buffer.SCORE], data[Buffer.RESIDUAL])
        self._store_data(m, data[Buffer.RESIDUAL])
        return m

    def _residual_addresses(self, m: Module) -> tuple[Value, ...]:
        """The array, the vector unit and the store read the residual at different times."""
        vector = self.vector_read
        store_word = self.store.line >> self.shapes[Buffer.RESIDUAL].beats_log2
        other = Mux(vector.en & vector.buffer, vector.word, store_word)
        addresses = []
        for bank, word in enumerate((self.residual_word, self.residual_word1)):
            address = Signal(24, name=f"residual_address{bank}")
            m.d.comb += address.eq(Mux(self.residual_en, word, other))
            addresses.append(address)
        return tuple(addresses)

    def _vector_data(self, m: Module, score: Value, residual: Value) -> None:
        late = delay(
            m, Cat(self.vector_read.bank, self.vector_read.buffer), RAM_READ, "vector_read"
        )
        width = len(self.vector_data)
        word = Mux(late[1], residual, score)
        if self.spec.tokens_per_beat > 1:
            word = Mux(late[0], word[width:], word[:width])
        m.d.comb += self.vector_data.eq(word)

    def _store_data(self, m: Module, residual: Value) -> None:
        beats_log2 = self.shapes[Buffer.RESIDUAL].beats_log2
        late = delay(m, self.store.line[: max(1, beats_log2)], RAM_READ, "store_line")
        m.d.sync += self.store_data.eq(
            residual.word_select(late[:beats_log2], 8 * self.spec.bus_bytes)
        )

    def _writers(self, buffer: Buffer) -> list[Writer]:
        """Who writes a scratchpad."""
        spec, shape, load = self.spec, self.shapes[buffer], self.load
        bus = 8 * spec.bus_bytes
        from_load = Writer(
            valid=load.valid & (load.buffer == buffer),
            words=(load.line >> shape.beats_log2,),
            slice=load.line[: shape.beats_log2],
            size=bus,
            data=load.data.replicate(1),
        )
        wide = buffer in (Buffer.SCORE, Buffer.RESIDUAL)
        container = 8 * spec.wide_bytes if wide else spec.data_bits
        from_array = Writer(
            valid=self.write_valid.any() & (self.write_dest == buffer),
            banks=self.write_valid,
            words=(self.write_word, self.write_word1),
            slice=self.write_slice,
            size=spec.columns * container,
            data=self.write_wide if wide else self.write_narrow,
        )
        vector = self.vector_write
        from_vector = Writer(
            valid=vector.valid & (vector.buffer == buffer),
            words=(vector.word,),
            slice=vector.sub,
            size=spec.lanes * container,
            data=vector.wide if wide else vector.narrow,
            bank=vector.bank,
        )
        return {
            Buffer.ACT: [from_array],
            Buffer.VEC: [from_vector],
            Buffer.KV: [from_array, from_vector],
            Buffer.SCORE: [from_array],
            Buffer.RESIDUAL: [from_array, from_load, from_vector],
        }.get(buffer, [from_load])

    def _memory(self, m: Module, buffer: Buffer, words: tuple[Value, ...]) -> Value:
        """Make one scratchpad, in as many parts as there are words to read; return its data."""
        shape, name = self.shapes[buffer], buffer.name.lower()
        writers = self._writers(buffer)
        masks, datas = zip(*(_granules(writer, shape) for writer in writers), strict=True)
        mask, data = masks[0], datas[0]
        for writer, other_mask, other in zip(writers[1:], masks[1:], datas[1:], strict=True):
            mask = mask | other_mask  # at most one writes in a cycle
            data = Mux(writer.valid, other, data)
        out = []
        width = shape.width // len(words)
        for part, read_word in enumerate(words):
            memory = Scratchpad(depth=shape.depth, width=width, granule=shape.granule)
            m.submodules[f"{name}{part}" if len(words) > 1 else name] = memory
            word = writers[0].words[min(part, len(writers[0].words) - 1)]
            for writer in writers[1:]:
                mine = writer.words[min(part, len(writer.words) - 1)]
                word = Mux(writer.valid, mine, word)
            m.d.comb += [
                memory.read_word.eq(read_word),
                memory.write_mask.eq(mask.word_select(part, width // shape.granule)),
                memory.write_data.eq(data.word_select(part, width)),
                memory.write_word.eq(word),
            ]
            out.append(memory.read_data)
        return Cat(*out)


def _granules(writer: Writer, shape: Geometry) -> tuple[Value, Value]:
    """Return enables and data of every granule for one writer."""
    linear = writer.bank is None and len(writer.data) == writer.size
    banks = 1 if linear else shape.banks
    per_slice = writer.size // shape.granule
    per_bank = shape.width // banks // shape.granule
    mask, data = [], []
    for i in range(shape.width // shape.granule):
        bank, place = divmod(i, per_bank)
        here = writer.valid
        if per_bank > per_slice:
            here = here & (writer.slice == place // per_slice)
        if writer.bank is not None and banks > 1:
            here = here & (writer.bank == bank)
        if writer.banks is not None and banks > 1:
            here = here & writer.banks[bank]
        mask.append(here)
        source = place % per_slice
        if writer.bank is None and not linear:
            source += bank * per_slice
        data.append(writer.data.word_select(source, shape.granule))
    return Cat(*mask), Cat(*data)
