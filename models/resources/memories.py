"""Terms of scratchpads, command memory, queues of commands and of tokens."""

from functools import lru_cache

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import COMMAND_BYTES, Buffer
from moesaic.models.geometry import geometry
from moesaic.models.pipeline import log2
from moesaic.models.requant import MULTIPLIER_BITS, SHIFT_BITS
from moesaic.models.resources.terms import Kinds, Part, Shape, Terms, memory_terms
from moesaic.models.routing import GATE_SCORE_BITS

BANKED = (Buffer.VEC, Buffer.RESIDUAL)
"""Scratchpads whose banks have read addresses of their own where there are experts."""

ENTRY_BITS = 49  # of the vector unit's row statistics: mean, scale, shift

Pads = dict[str, tuple[int, int, int, int]]


@lru_cache(maxsize=16)
def scratchpads(spec: AccelSpec) -> Pads:
    """Return scratchpads by kind: placements, slices of one, bits of a slice, words."""
    out: Pads = {}
    for buffer in Buffer:
        if buffer == Buffer.COMMAND or (buffer == Buffer.INDEX and not spec.sparsity):
            continue
        shape = geometry(spec, buffer)
        parts = spec.tokens_per_beat if spec.experts and buffer in BANKED else 1
        slices = shape.width // shape.granule // parts
        out[f"memories_{buffer.name.lower()}"] = (parts, slices, shape.granule, shape.depth)
    stat = MULTIPLIER_BITS + SHIFT_BITS
    out["memories_rowstat"] = (1, spec.tokens_per_beat, stat, spec.rowstat_rows)
    if spec.experts:
        bits = log2(spec.psum_depth) + GATE_SCORE_BITS
        out["queues_bank"] = (spec.tokens_per_beat, 1, bits, spec.experts * spec.psum_depth)
    return out


def memory_kinds(shape: Shape) -> Kinds:
    """Return the kinds of module that hold data, and the paths to them."""
    spec, target = shape.spec, shape.target
    kinds: Kinds = {
        "memories": Part(1, "memories", _paths(shape)),
        "processor": Part(1, "processor", _processor(shape)),
        "load_waiting": Part(1, "load_waiting", shape.logs(depth=spec.queue_depth)),
    }
    for name, (places, slices, width, depth) in scratchpads(spec).items():
        kinds[name] = Part(places, "scratchpad", memory_terms(target, width, depth, slices))
    for unit in ("load", "store", "stationary", "stream", "vector"):
        name = f"issue_{unit}_fifo"
        kinds[name] = Part(1, name, shape.logs(depth=spec.queue_depth))
    kinds["store_queue"] = Part(1, "store_queue", {"one": 1, "bits": 8 * spec.bus_bytes + 1})
    if spec.experts:
        kinds["queues"] = Part(1, "queues", _queues(shape))
    return kinds


def _paths(shape: Shape) -> Terms:
    """Return the terms of what is between the scratchpads and the units."""
    spec, bus = shape.spec, 8 * shape.spec.bus_bytes
    tokens, container = spec.tokens_per_beat, shape.container
    pads = scratchpads(spec)
    residual = geometry(spec, Buffer.RESIDUAL)
    many = max(spec.columns, spec.lanes)
    masks = {name: parts * slices for name, (parts, slices, _, _) in pads.items()}
    fills = ("input", "weight", "index", "param", "norm")
    return shape.common | {
        "bus": bus,
        "store": bus * shape.mux(residual.width // bus),
        "vector": spec.wide_word * container * shape.mux(2 * tokens),
        "kv": tokens * many * spec.data_bits,
        "residual": min(residual.width, tokens * max(many * container, bus)),
        "load_masks": sum(masks.get(f"memories_{name}", 0) for name in fills),
        "act_masks": masks["memories_act"] + masks["memories_score"],
        "vec_masks": masks["memories_vec"],
        "kv_masks": masks["memories_kv"],
        "residual_masks": masks["memories_residual"],
        "residual_depth": log2(spec.residual_words) * tokens,
        "kv_depth": log2(spec.kv_words),
    }


def command_memory(spec: AccelSpec) -> tuple[int, int, int]:
    """Return bits of a slice, words and slices of the command processor's memory."""
    return 8 * spec.bus_bytes, 2 * spec.block_commands, COMMAND_BYTES // spec.bus_bytes


def _processor(shape: Shape) -> Terms:
    spec = shape.spec
    logs = shape.logs(blocks=spec.block_commands)
    return (
        logs | memory_terms(shape.target, *command_memory(spec)) | {"slices": 64 // spec.bus_bytes}
    )


def _queues(shape: Shape) -> Terms:
    spec = shape.spec
    tokens, bits = spec.tokens_per_beat, log2(spec.psum_depth) + 1
    lengths = tokens * spec.experts * bits
    return {
        "one": 1,
        "tokens": tokens,
        "experts": tokens * spec.experts,
        "lengths": lengths,
        "look_ups": tokens * bits * shape.mux(spec.experts),
        "bits": tokens * bits,
    }
