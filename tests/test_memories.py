"""hw.memories: each writer's data lands where the geometry says, each reader gets it in time."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from moesaic.hw.memories import Memories
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Buffer
from moesaic.models.geometry import geometry
from moesaic.models.pipeline import RAM_READ
from moesaic.models.timing import STORE_READ_LATENCY
from moesaic.sim.cycle_bench import Trace, run_cycles

CYCLES = 400
WIDE = (Buffer.SCORE, Buffer.RESIDUAL)
WRITERS = {
    "load": (
        Buffer.WEIGHT,
        Buffer.INDEX,
        Buffer.PARAM,
        Buffer.NORM,
        Buffer.INPUT,
        Buffer.RESIDUAL,
    ),
    "array": (Buffer.ACT, Buffer.KV, Buffer.SCORE, Buffer.RESIDUAL),
    "vector": (Buffer.VEC, Buffer.KV, Buffer.RESIDUAL),
}
SMALL: dict[str, Any] = {
    f"{name}_words": 8 for name in ("norm", "input", "act", "vec", "kv", "score", "residual")
} | {"rowstat_rows": 8}
SPECS = [
    AccelSpec(name="p1", rows=4, columns=4, lanes=4, bus_bytes=4, weight_lines=8, **SMALL),
    AccelSpec(
        name="p2-sparse-wide-bus",
        rows=16,
        columns=8,
        lanes=4,
        tokens_per_beat=2,
        sparsity=(NM(n=2, m=8),),
        index_lines=8,
        bus_bytes=16,
        weight_lines=16,
        param_columns=16,
        experts=4,
        **SMALL,
    ),
    AccelSpec(
        name="int16-many-lanes",
        rows=8,
        columns=4,
        lanes=16,
        data_bits=16,
        bus_bytes=16,
        weight_lines=8,
        param_columns=8,
        **SMALL,
    ),
]


@dataclass(slots=True)
class Bench:
    """Random traffic, and the scratchpads as bytes: (words, banks, bytes of a bank's word)."""

    spec: AccelSpec
    inputs: dict[str, list[int]] = field(default_factory=dict)
    expected: dict[str, list[int | None]] = field(default_factory=dict)
    pads: dict[Buffer, NDArray[np.uint8]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for buffer in Buffer:
            if buffer != Buffer.COMMAND:
                shape = geometry(self.spec, buffer)
                banks = shape.banks
                self.pads[buffer] = np.zeros(
                    (shape.depth, banks, shape.width // 8 // banks), dtype=np.uint8
                )

    def drive(self, cycle: int, **values: int) -> None:
        for name, value in values.items():
            self.inputs.setdefault(name, [0] * CYCLES)[cycle] = value

    def expect(self, cycle: int, name: str, data: NDArray[np.uint8], latency: int) -> None:
        column = self.expected.setdefault(name, [None] * (CYCLES + 8))
        column[cycle + latency] = int.from_bytes(data.tobytes(), "little")

    # ---- writers: drive the ports, and change the bytes as the geometry says ---------------------
    def load(self, cycle: int, buffer: Buffer, rng: np.random.Generator) -> None:
        bus = self.spec.bus_bytes
        flat = self.pads[buffer].reshape(-1)
        line, data = int(rng.integers(flat.size // bus)), rng.bytes(bus)
        word = int.from_bytes(data, "little")
        self.drive(cycle, load__valid=1, load__buffer=buffer, load__line=line, load__data=word)
        flat[line * bus : (line + 1) * bus] = np.frombuffer(data, dtype=np.uint8)

    def array(self, cycle: int, buffer: Buffer, rng: np.random.Generator) -> None:
        spec, pad = self.spec, self.pads[buffer]
        size = spec.columns * (spec.wide_bytes if buffer in WIDE else spec.data_bytes)
        word, place = int(rng.integers(pad.shape[0])), int(rng.integers(pad.shape[2] // size))
        word1 = int(rng.integers(pad.shape[0]))
        queued = spec.experts and buffer == Buffer.RESIDUAL
        banks = int(rng.integers(1, 1 << spec.tokens_per_beat))  # any of them, but not none
        names = ("write_wide", "write_narrow") if buffer in WIDE else ("write_narrow", "write_wide")
        sizes = {
            "write_narrow": spec.columns * spec.data_bytes,
            "write_wide": spec.columns * spec.wide_bytes,
        }
        data = {name: rng.bytes(spec.tokens_per_beat * sizes[name]) for name in names}
        self.drive(
            cycle,
            write_valid=banks,
            write_dest=buffer,
            write_word=word,
            write_word1=word1,
            write_slice=place,
            **{name: int.from_bytes(value, "little") for name, value in data.items()},
        )
        values = np.frombuffer(data[names[0]], dtype=np.uint8).reshape(-1, size)
        for bank in range(spec.tokens_per_beat):
            if banks >> bank & 1:
                at = word1 if queued and bank else word
                pad[at, bank, place * size : (place + 1) * size] = values[bank]

    def vector(self, cycle: int, buffer: Buffer, rng: np.random.Generator) -> None:
        spec, pad = self.spec, self.pads[buffer]
        wide = buffer in WIDE
        size = spec.lanes * (spec.wide_bytes if wide else spec.data_bytes)
        word, place = int(rng.integers(pad.shape[0])), int(rng.integers(pad.shape[2] // size))
        bank, data, other = int(rng.integers(pad.shape[1])), rng.bytes(size), rng.bytes(4)
        mine, not_mine = ("wide", "narrow") if wide else ("narrow", "wide")
        self.drive(
            cycle,
            vector_write__valid=1,
            vector_write__buffer=buffer,
            vector_write__bank=bank,
            vector_write__word=word,
            vector_write__sub=place,
        )
        self.drive(cycle, **{f"vector_write__{mine}": int.from_bytes(data, "little")})
        self.drive(cycle, **{f"vector_write__{not_mine}": int.from_bytes(other, "little")})
        pad[word, bank, place * size : (place + 1) * size] = np.frombuffer(data, dtype=np.uint8)

    def both(self, buffer: Buffer, word: int, word1: int) -> NDArray[np.uint8]:
        """Return a word of each bank; all banks have the first one where there are no experts."""
        pad = self.pads[buffer]
        words = (word, word1) if self.spec.experts else (word, word)
        return np.array([pad[words[bank], bank] for bank in range(pad.shape[1])])

    # ---- readers ---------------------------------------------------------------------------------
    def read(self, cycle: int, rng: np.random.Generator) -> None:
        """Read everywhere at once; the residual has one reader in a cycle."""
        spec = self.spec

        def any_word(*buffers: Buffer) -> int:
            return int(rng.integers(min(self.pads[b].shape[0] for b in buffers)))

        def whole(port: str, buffer: Buffer, output: str) -> None:
            word = any_word(buffer)
            self.drive(cycle, **{port: word})
            self.expect(cycle, output, self.pads[buffer][word], RAM_READ)

        whole("weight_line", Buffer.WEIGHT, "weight_data")
        whole("kv_word", Buffer.KV, "kv_data")
        whole("norm_read__word", Buffer.NORM, "norm_data")
        if spec.sparsity:
            whole("index_line", Buffer.INDEX, "index_data")
        word, word1 = (any_word(Buffer.INPUT, Buffer.ACT, Buffer.VEC) for _ in range(2))
        self.drive(cycle, stream_word=word, stream_word1=word1)
        for i, buffer in enumerate((Buffer.INPUT, Buffer.ACT)):
            self.expect(cycle, f"words{i}", self.pads[buffer][word], RAM_READ)
        self.expect(cycle, "words2", self.both(Buffer.VEC, word, word1), RAM_READ)
        column = int(rng.integers(spec.param_columns))
        self.drive(cycle, param_column=column)
        pad = self.pads[Buffer.PARAM]
        self.expect(cycle, "param_data", pad[column * 8 // pad.shape[2]], RAM_READ)

        reader = rng.integers(4)
        score = reader != 1 and rng.random() < 0.5  # the vector unit may read scores meanwhile
        if reader == 0:
            word, word1 = any_word(Buffer.RESIDUAL), any_word(Buffer.RESIDUAL)
            self.drive(cycle, residual_en=1, residual_word=word, residual_word1=word1)
            expected = self.both(Buffer.RESIDUAL, word, word1)
            self.expect(cycle, "residual_data", expected, RAM_READ)
        if reader == 2:
            flat = self.pads[Buffer.RESIDUAL].reshape(-1, spec.bus_bytes)
            line = int(rng.integers(len(flat)))
            self.drive(cycle, store__en=1, store__buffer=Buffer.RESIDUAL, store__line=line)
            self.expect(cycle, "store_data", flat[line], STORE_READ_LATENCY)
        if score or reader == 1:
            buffer = Buffer.SCORE if score else Buffer.RESIDUAL
            pad = self.pads[buffer]
            word, bank = any_word(buffer), int(rng.integers(pad.shape[1]))
            self.drive(
                cycle,
                vector_read__en=1,
                vector_read__buffer=int(not score),
                vector_read__bank=bank,
                vector_read__word=word,
            )
            self.expect(cycle, "vector_data", pad[word, bank], RAM_READ)

    def write(self, cycle: int, rng: np.random.Generator) -> None:
        """Each writer writes at random, no two of them the same scratchpad."""
        taken: set[Buffer] = set()
        for name in rng.permutation(list(WRITERS)):
            buffers = [b for b in WRITERS[name] if b not in taken]
            if not self.spec.sparsity and Buffer.INDEX in buffers:
                buffers.remove(Buffer.INDEX)
            if rng.random() < 0.8:
                buffer = Buffer(int(rng.choice(buffers)))
                taken.add(buffer)
                getattr(self, name)(cycle, buffer, rng)


def check(bench: Bench, trace: Trace) -> None:
    for name, expected in bench.expected.items():
        wrong = [
            cycle
            for cycle, (got, value) in enumerate(zip(trace[name], expected, strict=False))
            if value is not None and got != value
        ]
        assert not wrong, f"{name} in cycle {wrong[0]}"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_everyone_at_once(spec: AccelSpec) -> None:
    bench, rng = Bench(spec), np.random.default_rng(1)
    for cycle in range(CYCLES):
        bench.read(cycle, rng)  # a read sees the word before this cycle's writes
        bench.write(cycle, rng)
    assert len(bench.expected) == 10 + bool(spec.sparsity)
    check(bench, run_cycles(Memories(spec), bench.inputs, cycles=CYCLES))


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_row_statistics(spec: AccelSpec) -> None:
    rng, banks = np.random.default_rng(2), spec.tokens_per_beat
    stats = np.zeros((spec.rowstat_rows, banks), dtype=np.int64)
    names = ("valid", "bank", "row", "multiplier", "shift")
    highs = (2, banks, spec.rowstat_rows, 1 << 16, 1 << 6)
    inputs = {
        f"rowstat_write__{name}": rng.integers(0, high, CYCLES).tolist()
        for name, high in zip(names, highs, strict=True)
    }
    inputs["rowstat_row"] = rng.integers(0, spec.rowstat_rows, CYCLES).tolist()
    expected = [0] * RAM_READ
    for cycle in range(CYCLES):
        row = stats[inputs["rowstat_row"][cycle]]
        expected.append(sum(int(value) << 22 * bank for bank, value in enumerate(row)))
        valid, bank, place, multiplier, shift = (
            inputs[f"rowstat_write__{name}"][cycle] for name in names
        )
        if valid:
            stats[place, bank] = multiplier | shift << 16
    got = run_cycles(Memories(spec), inputs, cycles=CYCLES)
    assert got["rowstat_data"] == expected[:CYCLES]
