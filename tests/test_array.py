"""hw.array in Verilator against models.matmul and models.requant: whole products, each cycle."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from moesaic.hw.array import Array
from moesaic.hw.stationary import LINE
from moesaic.hw.stream import BEAT
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Buffer, Command, Epilogue, ScaleSource
from moesaic.models.gelu import gelu, output_bits
from moesaic.models.matmul import matmul
from moesaic.models.pipeline import (
    RAM_READ,
    RESIDUAL_AT,
    gather_latency,
    result_latency,
    sum_latency,
)
from moesaic.models.requant import BIAS_BITS, MULTIPLIER_BITS, Ints, limits, requant, saturate
from moesaic.models.routing import GATE_SCORE_BITS
from moesaic.models.sparse import compress, prune
from moesaic.sim.cycle_bench import VerilatorBench, pack
from moesaic.sim.sequencer_model import Step, run_products

PRODUCTS = 24
WIDE = (Buffer.SCORE, Buffer.RESIDUAL)
ADDING = (Epilogue.ADD, Epilogue.WEIGH)
SPECS = [
    AccelSpec(
        rows=8,
        columns=4,
        lanes=8,
        tokens_per_beat=2,
        bus_bytes=8,
        sparsity=(NM(n=2, m=8), NM(n=2, m=4)),
        index_lines=64,
        psum_depth=8,
        experts=4,
    ),
    AccelSpec(rows=4, columns=4, lanes=8, data_bits=16, bus_bytes=4, psum_depth=8),
]


def name(spec: AccelSpec) -> str:
    return f"{spec.rows}x{spec.columns}-p{spec.tokens_per_beat}-int{spec.data_bits}"


@cache
def bench(spec: AccelSpec) -> tuple[Array, VerilatorBench]:
    array = Array(spec)
    return array, VerilatorBench(array, cells=array.cells)


def packed(values: Ints, width: int) -> int:
    mask = (1 << width) - 1
    return sum((int(v) & mask) << i * width for i, v in enumerate(np.ravel(values)))


@dataclass(slots=True)
class Product:
    """One product: operands, parameters, commands, and what is to come out."""

    load: Command
    stream: Command
    x: Ints  # tokens, contraction
    weight: Ints  # contraction, outputs
    values: Ints  # as lines hold them: n tiles, k tiles, columns, rows
    indices: Ints
    params: Ints  # outputs; bias, multiplier, shift
    stats: Ints  # tokens; multiplier, shift
    residual: Ints  # tokens, outputs
    scores: Ints  # tokens
    narrow: Ints = field(init=False)
    wide: Ints = field(init=False)

    def finish(self, spec: AccelSpec) -> None:
        """Compute the results with the models."""
        c = self.stream
        sums = matmul(self.x, self.weight, data_bits=spec.data_bits)
        multiplier, shift = np.array(c["post_multiplier"]), np.array(c["post_shift"])
        if c["scale_source"] == ScaleSource.COLUMN:
            bias, multiplier, shift = self.params.T
            sums = sums + bias
        elif c["scale_source"] == ScaleSource.ROW:
            multiplier, shift = self.stats[:, :1], self.stats[:, 1:]
        y = requant(sums, multiplier, shift, spec.wide_bits)
        match c["epilogue"]:
            case Epilogue.GELU:
                curve = gelu(y, spec.wide_bits)
                y = requant(curve, c["post_multiplier"], c["post_shift"], spec.wide_bits)
            case Epilogue.WEIGH:
                y = requant(y, self.scores[:, np.newaxis], GATE_SCORE_BITS, spec.wide_bits)
        adds = c["epilogue"] in ADDING
        self.wide = saturate(y + self.residual * adds, spec.wide_bits)
        self.narrow = saturate(y, spec.data_bits)


def random_product(spec: AccelSpec, rng: np.random.Generator, kind: str) -> Product:
    """Draw a product; `kind` is the place of its stationary operand."""
    n_tiles, k_tiles = (int(rng.integers(1, 4)) for _ in range(2))
    beats, tokens = int(rng.choice([1, 2, 5, 8])), spec.tokens_per_beat
    modes = (None, *spec.sparsity)
    mode = int(rng.integers(len(modes))) if kind == "weights" else 0
    nm = modes[mode]
    low, high = limits(spec.data_bits)
    size, outputs = k_tiles * spec.operands_per_beat(nm), n_tiles * spec.columns
    x = rng.integers(low, high, (beats * tokens, size), endpoint=True)
    weight = rng.integers(low, high, (size, outputs), endpoint=True)
    k_valid = size - int(rng.integers(spec.rows))
    if kind == "values":
        weight[k_valid:] = 0  # tokens that are not real
    values, indices = weight, np.zeros_like(weight)
    if nm is not None:
        weight *= prune(weight, nm)
        values, indices = compress(weight, nm)
    shape = (k_tiles, spec.rows, n_tiles, spec.columns)
    by_column = kind == "weights"
    epilogue = Epilogue(int(rng.integers(5 if spec.experts else 4)))
    source = ScaleSource.COLUMN if by_column else ScaleSource(int(rng.integers(1, 3)))
    bits = spec.wide_bits if epilogue != Epilogue.NARROW else spec.data_bits
    typical = 2 * spec.data_bits + size.bit_length() // 2 + 15 - bits
    dest = Buffer.RESIDUAL if epilogue in ADDING else Buffer(int(rng.choice([6, 8, 9])))
    post = typical
    if epilogue == Epilogue.GELU:
        post = output_bits(spec.wide_bits) + 15 - spec.data_bits

    def scales(count: int) -> Ints:
        shifts = typical + rng.integers(-3, 3, count)
        return np.stack([rng.integers(1 << 15, 1 << 16, count), shifts], axis=1)

    bias = rng.integers(-(1 << 20), 1 << 20, outputs)
    wide_low, wide_high = limits(spec.wide_bits)
    product = Product(
        load={
            "source_kv": int(kind != "weights"),
            "row_mode": int(kind == "values"),
            "mode": mode,
            "n_tiles": n_tiles,
            "k_tiles": k_tiles,
            "base": 0,
            "use_params": int(by_column),
            "position": 0,
            "pitch": 0,
            "k_valid": k_valid,
        },
        stream={
            "source": int(rng.choice([Buffer.INPUT, Buffer.ACT, Buffer.VEC])),
            "mode": mode,
            "beats": beats,
            "odd": int(rng.integers(2)),
            "n_tiles": n_tiles,
            "k_tiles": k_tiles,
            "base": int(rng.integers(1000)),
            "pitch": int(rng.integers(9)),
            "dest": dest,
            "dest_base": int(rng.integers(1000)),
            "dest_pitch": int(rng.integers(9)),
            "dest_position": int(rng.integers(4)) * spec.columns,
            "epilogue": epilogue,
            "scale_source": source,
            "rowstat_base": int(rng.integers(100)),
            "post_multiplier": int(rng.integers(1 << 15, 1 << 16)),
            "post_shift": post,
        },
        x=x,
        weight=weight,
        values=values.reshape(shape).transpose(2, 0, 3, 1),
        indices=indices.reshape(shape).transpose(2, 0, 3, 1),
        params=np.column_stack([bias, scales(outputs)]),
        stats=scales(beats * tokens),
        residual=rng.integers(wide_low, wide_high, (beats * tokens, outputs), endpoint=True),
        scores=rng.integers(1 << GATE_SCORE_BITS, size=beats * tokens),
    )
    product.finish(spec)
    return product


class Stimulus:
    """The array's inputs by cycle, as the scratchpads would give them; noise everywhere else."""

    def __init__(self, spec: AccelSpec, array: Array, cycles: int, seed: int) -> None:
        self.spec = spec
        rng = np.random.default_rng(seed)
        self.columns: dict[str, list[int]] = {}
        for path, member, value in array.signature.flatten(array):
            width = len(value.as_value() if hasattr(value, "as_value") else value)
            if member.flow.name == "In":
                noise = [int.from_bytes(rng.bytes(width // 8 + 1)) for _ in range(cycles)]
                self.columns[str(path[0])] = [word & ((1 << width) - 1) for word in noise]
        self.columns["line"] = [0] * cycles
        self.columns["beat"] = [0] * cycles

    def word(self, name: str, cycle: int, values: Ints, width: int, first: int) -> None:
        """Put `values` into a word that comes RAM_READ after `cycle`, from value `first` on."""
        at, mask = cycle + RAM_READ, (1 << width * len(values)) - 1
        kept = self.columns[name][at] & ~(mask << first * width)
        self.columns[name][at] = kept | packed(values, width) << first * width

    def line(self, cycle: int, product: Product, step: Step, n: int, k: int) -> None:
        """Give a line its weights (or token), indices and parameters."""
        spec, bits, place = self.spec, self.spec.data_bits, step["place"]
        fields = {key: value for key, value in step.items() if key in dict(iter(LINE))}
        self.columns["line"][cycle] = pack(LINE, fields | {"valid": 1})
        if step["row_mode"]:
            token = product.values[n, k, :, place]
            if not step["zero"]:
                first = step["kv_bank"] * spec.kv_word + step["kv_slice"] * spec.columns
                self.word("kv_data", cycle, token, bits, first)
        elif step["source_kv"]:
            first = step["kv_bank"] * spec.kv_word + step["kv_slice"] * spec.rows
            self.word("kv_data", cycle, product.values[n, k, place], bits, first)
        else:
            self.word("weight_data", cycle, product.values[n, k, place], bits, 0)
            if "index_half" in step:
                first = step["index_half"] * spec.rows
                self.word("index_data", cycle, product.indices[n, k, place], 4, first)
        if step["params"]:
            bias, multiplier, shift = (int(v) for v in product.params[n * spec.columns + place])
            word = (bias & ((1 << BIAS_BITS) - 1)) | multiplier << BIAS_BITS
            word |= shift << BIAS_BITS + MULTIPLIER_BITS
            first = step["param_sub"] % (max(8, spec.bus_bytes) // 8)
            self.word("param_data", cycle, np.array([word], dtype=object), 64, first)

    def beat(self, cycle: int, product: Product, step: Step, n: int, k: int) -> None:
        """Give a beat its operands, and a finished one its residual and row statistics."""
        spec = self.spec
        self.columns["beat"][cycle] = pack(BEAT, step | {"valid": 1})
        size = product.x.shape[1] // product.load["k_tiles"]
        tokens = slice(step["row"] * spec.tokens_per_beat, (step["row"] + 1) * spec.tokens_per_beat)
        for token, x in enumerate(product.x[tokens, k * size : (k + 1) * size]):
            first = token * spec.act_word + step["offset"] * spec.rows
            self.word(f"words{step['source']}", cycle, x, spec.data_bits, first)

    def answers(self, cycle: int, product: Product, step: Step, n: int) -> None:
        """Answer the array's own reads for a beat that is issued in `cycle`."""
        spec = self.spec
        tokens = slice(step["row"] * spec.tokens_per_beat, (step["row"] + 1) * spec.tokens_per_beat)
        container = 8 * spec.wide_bytes
        read = cycle + residual_read(spec)
        columns = slice(n * spec.columns, (n + 1) * spec.columns)
        for token, values in enumerate(product.residual[tokens, columns]):
            first = token * spec.wide_word + step["dest_slice"] * spec.columns
            if step["epilogue"] in ADDING:
                self.word("residual_data", read, values, container, first)
        stats = [int(m) | int(s) << MULTIPLIER_BITS for m, s in product.stats[tokens]]
        self.word("rowstat_data", cycle + rowstat_read(spec), np.array(stats), 22, 0)


def residual_read(spec: AccelSpec) -> int:
    """Issue of a beat to its residual's read, whose slice is cut a cycle before RESIDUAL_AT."""
    return sum_latency(spec) + RESIDUAL_AT - 1 - RAM_READ


def rowstat_read(spec: AccelSpec) -> int:
    """Issue of a beat to the read of its row statistics, which are due a cycle after the sums."""
    return sum_latency(spec) + 1 - RAM_READ


@pytest.mark.parametrize("gap", [1, 60], ids=["back-to-back", "gaps"])
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_products(spec: AccelSpec, gap: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(gap)
    kinds = ("weights", "weights", "keys", "values")
    products = [random_product(spec, rng, kinds[i % 4]) for i in rng.permutation(PRODUCTS)]
    offered = [np.cumsum(rng.integers(1, gap + 1, PRODUCTS)).tolist() for _ in range(2)]
    loads, streams = [p.load for p in products], [p.stream for p in products]
    lines, beats = run_products(
        spec, loads, streams, load_offers=offered[0], stream_offers=offered[1]
    )
    latency = result_latency(spec) - gather_latency(spec)
    cycles = beats.ends[-1] + latency + 4
    array, verilated = bench(spec)
    stimulus = Stimulus(spec, array, cycles, gap)

    tiles = [
        (product, n, k)
        for product in products
        for n in range(product.load["n_tiles"])
        for k in range(product.load["k_tiles"])
    ]
    writes: dict[int, tuple[Product, int, Step]] = {}
    residual_reads: dict[int, Step] = {}
    rows: dict[int, int] = {}
    dones = {end + latency for end in beats.ends}
    for tile, (product, n, k) in enumerate(tiles):
        for cycle in range(lines.tile_starts[tile], lines.tile_ends[tile] + 1):
            stimulus.line(cycle, product, lines.steps[cycle], n, k)
        for cycle in range(beats.tile_starts[tile], beats.tile_ends[tile] + 1):
            step = beats.steps[cycle]
            if step["epilogue"] == Epilogue.WEIGH:  # tokens wherever they are
                place = step["row"] * spec.tokens_per_beat
                step["score0"], step["score1"] = product.scores[
                    [place, place - 1 + spec.tokens_per_beat]
                ].tolist()
                step["dest_word1"] += 1 + step["row"]
            stimulus.beat(cycle, product, step, n, k)
            if step["last"]:
                stimulus.answers(cycle, product, step, n)
                writes[cycle + latency] = (product, n, step)
                if step["epilogue"] in ADDING:
                    residual_reads[cycle + residual_read(spec)] = step
                rows[cycle + rowstat_read(spec)] = step["rowstat_row"]
    trace = verilated.run(stimulus.columns, cycles=cycles, run_dir=tmp_path)

    for cycle in range(cycles):
        what = f"cycle {cycle}"
        assert trace["residual_en"][cycle] == (cycle in residual_reads), what
        if cycle in residual_reads:
            assert trace["residual_word"][cycle] == residual_reads[cycle]["dest_word"], what
            assert trace["residual_word1"][cycle] == residual_reads[cycle]["dest_word1"], what
        if cycle in rows:
            assert trace["rowstat_row"][cycle] == rows[cycle], what
        assert trace["done"][cycle] == (cycle in dones), what
        if cycle not in writes:
            assert trace["write_valid"][cycle] == 0, what
            continue
        product, n, step = writes[cycle]
        banks = step["banks"] & ((1 << spec.tokens_per_beat) - 1)
        assert trace["write_valid"][cycle] == banks, what
        for key in ("dest", "dest_word", "dest_word1", "dest_slice"):
            assert trace[f"write_{key.removeprefix('dest_')}"][cycle] == step[key], what
        tokens = slice(step["row"] * spec.tokens_per_beat, (step["row"] + 1) * spec.tokens_per_beat)
        columns = slice(n * spec.columns, (n + 1) * spec.columns)
        narrow = packed(product.narrow[tokens, columns], spec.data_bits)
        assert trace["write_narrow"][cycle] == narrow, f"{what}: {step}"
        wide = packed(product.wide[tokens, columns], 8 * spec.wide_bytes)
        assert trace["write_wide"][cycle] == wide, f"{what}: {step}"
