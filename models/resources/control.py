"""Terms of the host side, the DMA, the sequencers and the vector unit."""

from moesaic.models.pipeline import log2
from moesaic.models.resources.memories import ENTRY_BITS
from moesaic.models.resources.terms import ONE, Kinds, Part, Shape, Terms, adder_tree, memory_terms
from moesaic.models.vector_timing import gate_lanes, tree_latency

FIXED = (
    "top",
    "registers",
    "issue_load",
    "issue_store",
    "issue_stationary",
    "issue_stream",
    "issue_vector",
    "load_lines",
    "store_lines",
    "vector_fetch",
)
"""Kinds that hardly depend on parameters."""
ROWS = ("vector", "vector_norm", "vector_peak", "vector_row_scale")
"""Kinds of the vector unit whose pipelines are as long as its trees are deep."""
WALKS = ("vector_sequence", "vector_sequence_walk", "vector_write", "vector_write_walk")
"""Its sequencers."""


def control_kinds(shape: Shape) -> Kinds:
    """Return the kinds of module that move and order."""
    spec = shape.spec
    bursts = shape.logs(bus=spec.bus_bytes, burst=max(1, spec.burst_beats))
    copies = shape.logs(bus=spec.bus_bytes, outstanding=spec.outstanding) | {
        "data": 8 * spec.bus_bytes
    }
    kinds: Kinds = {name: Part(1, name, shape.common) for name in FIXED}
    kinds |= {name: Part(1, name, bursts) for name in ("load_bursts", "store_bursts")}
    kinds |= {name: Part(1, name, copies) for name in ("load", "store")}
    order = shape.logs(rows=spec.rows, columns=spec.columns, kv=spec.kv_word)
    kinds["stationary"] = Part(
        1, "stationary", order | {"modes": len(spec.sparsity), "sparse": bool(spec.sparsity)}
    )
    kinds["stream"] = Part(
        1,
        "stream",
        shape.logs(rows=spec.rows, columns=spec.columns, act=spec.act_word)
        | {"modes": len(spec.sparsity), "sparse": bool(spec.sparsity)},
    )
    if spec.experts:
        kinds["gather"] = Part(1, "gather", shape.logs(depth=spec.psum_depth))
    return kinds


def vector_kinds(shape: Shape) -> Kinds:
    """Return the vector unit's kinds of module."""
    spec, bits = shape.spec, shape.spec.data_bits
    walk = shape.logs(lanes=spec.lanes, words=spec.wide_word // spec.lanes)
    trees = shape.common | {
        "trees": tree_latency(spec),
        "trees_int16": tree_latency(spec) * (bits == 16),
        "trees_experts": tree_latency(spec) * (spec.experts > 0),
        "lanes": log2(spec.lanes),
        "lanes_int16": log2(spec.lanes) * (bits == 16),
        "depth": log2(spec.rowstat_rows * spec.tokens_per_beat),
    }
    rows = spec.rowstat_rows * spec.tokens_per_beat
    remembered = memory_terms(shape.target, ENTRY_BITS, rows) | {"one": 1, "depth": log2(rows)}
    kinds: Kinds = {name: Part(1, name, trees) for name in ROWS}
    kinds |= {name: Part(1, name, walk) for name in WALKS}
    kinds |= {
        "vector_memory": Part(1, "vector_memory", remembered),
        "vector_row_scale_inverse": Part(1, "vector_row_scale_inverse", ONE),
        "vector_lanes": Part(1, "vector_lanes", _lanes(shape)),
    }
    for name in ("", "_exptwo", "_round_shift"):
        delays = {} if name else {"trees": tree_latency(spec)}
        kinds[f"vector_lane{name}"] = Part(spec.lanes, f"vector_lane{name}", shape.width | delays)
    for name in ("candidate", "square", "upper", "lower", "power"):
        kind = f"vector_lanes_tree_{name}"
        maximum = name == "candidate"
        kinds[kind] = Part(1, f"{kind}@{bits}", _tree(spec.lanes, spec.wide_bits, maximum=maximum))
    if spec.experts:
        lanes = gate_lanes(spec)
        key = spec.wide_bits + log2(spec.experts)
        keys = {"keys": lanes * key, "experts_log": log2(spec.experts), "lanes": log2(lanes)}
        score = "vector_route_gate_score"
        kinds["vector_route"] = Part(1, "vector_route", trees | keys)
        kinds[score] = Part(1, score, trees)
        kinds[f"{score}_exptwo"] = Part(1, f"{score}_exptwo", shape.width)
        kinds["vector_route_winner"] = Part(1, "vector_route_winner", shape.common | keys)
        tree = "vector_route_winner_tree"
        kinds[tree] = Part(1, tree, _tree(lanes, key, maximum=True))
    return kinds


def _lanes(shape: Shape) -> Terms:
    spec = shape.spec
    beat = spec.lanes * shape.container
    return {
        "one": 1,
        "lanes": spec.lanes,
        "lanes_int16": spec.lanes * (spec.data_bits == 16),
        "beat": beat * shape.mux(spec.wide_word // spec.lanes),
        "slices": log2(spec.wide_word // spec.lanes),
    }


def _tree(lanes: int, width: int, *, maximum: bool) -> Terms:
    """Return the terms of a reduction; sums start from an unknown width and grow a bit a level."""
    if maximum:
        registers, adders = adder_tree(lanes, width, grow=False)
        return {"one": 1, "registers": registers, "adders": adders}
    nodes, joins = adder_tree(lanes, 1, grow=False)
    registers, adders = adder_tree(lanes, 0)
    return {"nodes": nodes, "joins": joins, "registers": registers, "adders": adders}
