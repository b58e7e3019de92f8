"""The training machine's memories, and who reads and writes each."""

from dataclasses import dataclass
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

from moesaic.hw.buffer_port import buffer_read, buffer_write
from moesaic.hw.delay import delay
from moesaic.hw.scratchpad import Scratchpad
from moesaic.models.accel import AccelSpec
from moesaic.models.pipeline import RAM_READ, log2
from moesaic.models.training.memories import Shape, Store, shape, slices
from moesaic.models.training.vector_fields import ADDRESS_BITS, Memory

SIDES = ("a", "p", "q")
FLOATS = {
    Memory.P: Store.P,
    Memory.V: Store.V,
    Memory.L: Store.L,
    Memory.S: Store.S,
    Memory.K: Store.K,
}
READ = data.StructLayout({"memory": 3, "slice": ADDRESS_BITS})


def slice_write(values: int, bits: int) -> data.StructLayout:
    """Return a write of a slice of `values` of `bits` each, those that are enabled."""
    return data.StructLayout(
        {"valid": 1, "slice": ADDRESS_BITS, "enable": values, "data": values * bits}
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Write:
    """One writer: words, what of a word, and the word's data."""

    word: Value
    mask: Value
    data: Value


class Memories(wiring.Component):
    """X, W and their places, P, V, L, S, K; what may not meet is kept apart by the mapper.

    Stream and stationary reads take RAM_READ cycles, the vector unit's and the store's one more.

    Parameters
    ----------
    spec : AccelSpec

    Members
    -------
    load, store, store_data : the DMA's; the store reads V, W, places and X.
    stream_word, stream_data, held_word, held_data : words of X.
    weight_line, weight_data, index_line, index_data : packed weights.
    product : ``In``, a slice of P.
    a, p, q : ``In(READ)``, what a pass reads; one of them at most from X.
    a_data, p_data, q_data : ``Out``, slices of floats.
    x_data : ``Out``, the slice of X.
    x_write, v_write, s_write, k_write : ``In``, a pass's results. With `x_fill` all slices of the
        word behind the one that is written become +0.
    line, places : ``In``, lines of packed weights.
    """

    def __init__(self, spec: AccelSpec) -> None:
        self.spec = spec
        lanes, bits = spec.lanes, spec.data_bits
        floats = slice_write(lanes, 32)
        word = spec.act_word * bits
        super().__init__(
            {
                "load": In(buffer_write(spec.bus_bytes)),
                "store": In(buffer_read()),
                "store_data": Out(8 * spec.bus_bytes),
                "stream_word": In(ADDRESS_BITS),
                "stream_data": Out(word),
                "held_word": In(ADDRESS_BITS),
                "held_data": Out(word),
                "weight_line": In(ADDRESS_BITS),
                "weight_data": Out(spec.weight_word * bits),
                "index_line": In(ADDRESS_BITS),
                "index_data": Out(8 * spec.weight_word),
                "product": In(floats),
                **{side: In(READ) for side in SIDES},
                **{f"{side}_data": Out(32 * lanes) for side in SIDES},
                "x_data": Out(lanes * bits),
                "x_write": In(slice_write(lanes, bits)),
                "x_fill": In(1),
                "v_write": In(floats),
                "s_write": In(floats),
                "k_write": In(floats),
                "line": In(slice_write(spec.weight_word, bits)),
                "places": In(slice_write(spec.weight_word, 4)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        spec = self.spec
        store_data = self._operands(m) | self._weights(m)
        floats = {
            Store.P: _float_write(self.product),
            Store.V: _float_write(self.v_write),
            Store.S: _float_write(self.s_write, lanes=True),
            Store.K: _float_write(self.k_write),
            Store.L: self._load_write(m, Store.L),
        }
        found: dict[str, dict[Store, Value]] = {side: {} for side in SIDES}
        for store, write in floats.items():
            for side in SIDES:
                address = getattr(self, side).slice
                name = f"{store.name.lower()}_{side}"
                granule = {Store.L: 8 * spec.bus_bytes, Store.S: 32}.get(store, 32 * spec.lanes)
                found[side][store] = self._copy(m, name, store, address, write, granule)
        store_word = self.store.line
        v_shape = shape(spec, Store.V)
        store_data[Store.V] = self._copy(
            m,
            "v_store",
            Store.V,
            store_word >> v_shape.beats_log2,
            floats[Store.V],
            32 * spec.lanes,
        )
        for side in SIDES:
            memory = delay(m, getattr(self, side).memory, RAM_READ, f"{side}_memory")
            picked = reduce(
                or_,
                (Mux(memory == number, found[side][s], 0) for number, s in FLOATS.items()),
            )
            m.d.sync += getattr(self, f"{side}_data").eq(picked)
        self._store(m, store_data)
        return m

    def _operands(self, m: Module) -> dict[Store, Value]:
        """X: three copies; the store shares the vector unit's."""
        spec = self.spec
        each, bits = slices(spec), spec.lanes * spec.data_bits
        sub = log2(each)
        written = self.x_write
        here = written.slice[:sub] if sub else 0
        mask = Cat(
            *(written.valid & ((here == s) | (self.x_fill & (here < s))) for s in range(each))
        )
        # what lies behind the slice is +0; the slice itself has its data
        content = Cat(*(Mux(here == s, written.data, 0) for s in range(each)))
        load = self._load_write(m, Store.X)
        write = _Write(
            word=Mux(written.valid, written.slice >> sub, load.word),
            mask=Mux(written.valid, _spread(mask, bits, 8 * spec.bus_bytes), load.mask),
            data=Mux(written.valid, content, load.data),
        )
        granule = min(bits, 8 * spec.bus_bytes)
        sides = [getattr(self, side) for side in SIDES]
        vector = Signal(ADDRESS_BITS)
        m.d.comb += vector.eq(
            reduce(or_, (Mux(side.memory == Memory.X, side.slice, 0) for side in sides))
        )
        x_store = self.store.en & (self.store.buffer == Store.X)
        word = Mux(x_store, self.store.line >> shape(spec, Store.X).beats_log2, vector >> sub)
        m.d.comb += [
            self.stream_data.eq(
                self._copy(m, "x_stream", Store.X, self.stream_word, write, granule)
            ),
            self.held_data.eq(self._copy(m, "x_held", Store.X, self.held_word, write, granule)),
        ]
        data_word = self._copy(m, "x_vector", Store.X, word, write, granule)
        place = delay(m, vector[:sub], RAM_READ, "x_slice") if sub else 0
        m.d.sync += self.x_data.eq(data_word.word_select(place, bits) if sub else data_word)
        return {Store.X: data_word}

    def _weights(self, m: Module) -> dict[Store, Value]:
        """W and its places, each written by the load unit or by packings, read by two."""
        out = {}
        for store, port, address, result in (
            (Store.W, self.line, self.weight_line, self.weight_data),
            (Store.PLACES, self.places, self.index_line, self.index_data),
        ):
            load = self._load_write(m, store)
            half = store == Store.PLACES
            width = len(port.data)
            content = port.data.replicate(2) if half else port.data
            halves = Cat(port.slice[0] == 0, port.slice[0] == 1) if half else Cat(1)
            mask = _spread(halves, width, 8 * self.spec.bus_bytes)
            write = _Write(
                word=Mux(port.valid, port.slice >> 1 if half else port.slice, load.word),
                mask=Mux(port.valid, mask, load.mask),
                data=Mux(port.valid, content, load.data),
            )
            granule = min(width, 8 * self.spec.bus_bytes)
            name = store.name.lower()
            m.d.comb += result.eq(self._copy(m, f"{name}_held", store, address, write, granule))
            word = self.store.line >> shape(self.spec, store).beats_log2
            out[store] = self._copy(m, f"{name}_store", store, word, write, granule)
        return out

    def _store(self, m: Module, words: dict[Store, Value]) -> None:
        """Give the store unit its beat: RAM_READ cycles for the word, one to choose."""
        bits = 8 * self.spec.bus_bytes
        buffer = delay(m, self.store.buffer, RAM_READ, "store_buffer")
        line = delay(m, self.store.line, RAM_READ, "store_line")
        parts = []
        for store, word in words.items():
            log2_beats = shape(self.spec, store).beats_log2
            beat = word.word_select(line[:log2_beats], bits) if log2_beats else word
            parts.append(Mux(buffer == store, beat, 0))
        m.d.sync += self.store_data.eq(reduce(or_, parts))

    def _load_write(self, m: Module, store: Store) -> _Write:
        """Return what the load unit writes into a memory: one bus beat of a word."""
        del m
        held: Shape = shape(self.spec, store)
        beats = 1 << held.beats_log2
        here = self.load.valid & (self.load.buffer == store)
        beat = self.load.line[: held.beats_log2] if held.beats_log2 else 0
        mask = Cat(*(here & (beat == i) for i in range(beats)))
        bits = 8 * self.spec.bus_bytes
        granule = self._granule(store)
        return _Write(
            word=self.load.line >> held.beats_log2,
            mask=Cat(*(mask[i * granule // bits] for i in range(held.width // granule))),
            data=self.load.data.replicate(beats),
        )

    def _granule(self, store: Store) -> int:
        """Bits of the smallest part of a word that is written alone."""
        bus = 8 * self.spec.bus_bytes
        match store:
            case Store.X:
                return min(self.spec.lanes * self.spec.data_bits, bus)
            case Store.W:
                return min(self.spec.weight_word * self.spec.data_bits, bus)
            case Store.PLACES:
                return min(4 * self.spec.weight_word, bus)
        return bus

    def _copy(
        self, m: Module, name: str, store: Store, address: Value, write: _Write, granule: int
    ) -> Value:
        """Place one copy of a memory; return its word, RAM_READ cycles after the address."""
        held = shape(self.spec, store)
        m.submodules[name] = memory = Scratchpad(
            depth=held.depth, width=held.width, granule=granule
        )
        m.d.comb += [
            memory.read_word.eq(address),
            memory.write_word.eq(write.word),
            memory.write_mask.eq(write.mask),
            memory.write_data.eq(write.data),
        ]
        return memory.read_data


def _float_write(port: Value, *, lanes: bool = False) -> _Write:
    """Return a write of a slice of floats, whole or by `lanes` that are enabled."""
    mask = Mux(port.valid, port.enable, 0) if lanes else port.valid
    return _Write(word=port.slice, mask=mask, data=port.data)


def _spread(mask: Value, size: int, bus: int) -> Value:
    """Return one bit for each granule of at most `bus` bits from one for each `size` bits."""
    times = max(1, size // bus)
    return Cat(*(bit for bit in mask for _ in range(times)))
