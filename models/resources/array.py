"""Terms of the array: operands, weights, columns, lanes."""

from functools import lru_cache

from moesaic.models.accel import NM
from moesaic.models.pipeline import LANE, log2, sum_latency
from moesaic.models.resources.terms import Kinds, Part, Shape, Terms, adder_tree, memory_terms

PACK = 18  # bits between two packed products
PARAM_BITS = 62  # bias, multiplier and shift of a column


def array_kinds(shape: Shape) -> Kinds:
    """Return the array's kinds of module."""
    spec, arrays = shape.spec, shape.arrays
    lanes = arrays * spec.columns * spec.tokens_per_beat
    kinds: Kinds = {
        "array": Part(arrays, "array", _array(shape)),
        "array_distribute": Part(arrays, "array_distribute", _distribute(shape)),
        "array_weights": Part(arrays, "array_weights", _weights(shape)),
        "column": Part(arrays * spec.columns, "column", _column(shape)),
        "lane": Part(lanes, "lane", _lane(shape)),
        "lane_gelu": Part(lanes, f"lane_gelu@{spec.gelu}", shape.width),
    }
    for name in ("requant", "requant_round_shift", "post", "post_round_shift"):
        kinds[f"lane_{name}"] = Part(lanes, f"lane_{name}", shape.width)
    if spec.arrays == "separate":
        wide = spec.tokens_per_beat * spec.columns * (spec.data_bits + shape.container)
        kinds["separate"] = Part(1, "separate", shape.common | {"wide": wide})
    return kinds


def _column(shape: Shape) -> Terms:
    spec = shape.spec
    rows, bits = spec.rows, spec.data_bits
    if spec.tokens_per_beat == 1:
        operand = bits
        registers, adders = adder_tree(rows, 2 * bits)
    else:  # pairs of packed products, both tokens' sums of four, a tree for each token
        operand = 2 * bits + 1
        registers, adders = (2 * both for both in adder_tree(rows // 4, PACK))
        registers += rows // 2 * (PACK + 2 * bits) + rows // 4 * 2 * PACK
        adders += rows // 4 * 2 * PACK
    return {
        "one": 1,
        "weights": rows * bits,
        "indices": rows * log2(spec.group_slots),
        "operands": rows * operand * _choice(shape),
        "rows": rows,
        "pairs": rows if spec.tokens_per_beat == 2 else 0,
        "registers": registers,
        "adders": adders,
    }


def _choice(shape: Shape) -> float:
    """Return the LUTs of one bit of an operand; eight to one are two LUTs and a MUXF7."""
    slots = shape.spec.group_slots
    return 2 if slots == 8 and shape.target == "xcup" else shape.mux(slots)


def _array(shape: Shape) -> Terms:
    spec = shape.spec
    tokens, columns, container = spec.tokens_per_beat, spec.columns, shape.container
    stages = sum_latency(spec) + LANE
    slices = spec.wide_word // columns
    return {
        "one": 1,
        "stages": stages,
        "stages_tokens": stages * (tokens == 2),
        "stages_experts": stages * (spec.experts > 0),
        "tokens": tokens == 2,
        "experts": spec.experts > 0,
        "experts_tokens": (spec.experts > 0) * (tokens == 2),
        "lanes": tokens * columns,
        "residual": tokens * columns * container,
        "residual_slices": tokens * columns * container * shape.mux(slices),
    }


def _distribute(shape: Shape) -> Terms:
    spec = shape.spec
    tokens, bits = spec.tokens_per_beat, spec.data_bits
    steps = spec.act_word // spec.rows
    operand = bits if tokens == 1 else 2 * bits + 1
    count, spread = _spread(spec.rows, spec.sparsity, shape.target)
    return {
        "one": 1,
        "word": tokens * spec.act_word * bits,
        "slices": tokens * spec.rows * spec.expansion * bits,
        "slice_steps": tokens * spec.rows * spec.expansion * bits * shape.mux(steps),
        "operands": count * operand,
        "spread": spread * tokens * bits,
        "borrows": count * bits * (tokens == 2),
    }


@lru_cache(maxsize=256)
def _spread(rows: int, sparsity: tuple[NM, ...], target: str) -> tuple[int, float]:
    """Return the operands on the columns' bus, and LUTs of one bit of each that choose them."""
    group_rows = min((mode.n for mode in sparsity), default=1)
    slots = max((mode.m for mode in sparsity), default=1)
    per_lut = 4 if target == "xcup" else 2
    groups = rows // group_rows
    luts = 0.0
    for group in range(groups):
        row = group * group_rows
        for slot in range(slots):
            places = {row + slot} if slot < group_rows else set()
            places |= {row // mode.n * mode.m + slot for mode in sparsity if slot < mode.m}
            luts += max(1, len(places) / per_lut) if len(places) > 1 else 0
    return groups * slots, luts


def _weights(shape: Shape) -> Terms:
    spec = shape.spec
    rows, columns, bits = spec.rows, spec.columns, spec.data_bits
    indices = rows * log2(spec.group_slots)
    banks = spec.tokens_per_beat
    return {
        "one": 1,
        "stages": sum_latency(spec),
        "rows": rows,
        "columns": columns,
        "weights": rows * bits,
        "values": columns * bits,
        "indices": indices,
        "weights_from": rows * bits * shape.mux(banks * spec.kv_word // rows),
        "values_from": columns * bits * shape.mux(banks * spec.kv_word // columns),
        "params": PARAM_BITS * shape.mux(max(8, spec.bus_bytes) // 8),
        "tokens": banks == 2,
    }


def _lane(shape: Shape) -> Terms:
    spec = shape.spec
    stored = memory_terms(shape.target, spec.acc_bits, spec.psum_depth)
    del stored["bits"]  # as good as the width of the data
    return stored | {
        "one": 1,
        "int16": spec.data_bits == 16,
        "rows": log2(spec.rows),
        "depth": log2(spec.psum_depth),
        "experts": spec.experts > 0,
    }
