"""hw.stationary against plain loops: every line, its addresses and its cycle."""

import numpy as np
import pytest

from moesaic.hw.command_layout import command_layout
from moesaic.hw.stationary import LINE, Stationary
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Command, Unit
from moesaic.models.pipeline import gather_latency
from moesaic.sim.cycle_bench import Source, pack, run_cycles, unpack
from moesaic.sim.sequencer_model import is_empty, load_tiles

PORTS = ("weight_line", "index_line", "param_column", "kv_word")
COMMANDS = 8


def make_spec(
    rows: int, columns: int, lanes: int, tokens: int, *modes: str, experts: int = 0
) -> AccelSpec:
    return AccelSpec(
        experts=experts,
        rows=rows,
        columns=columns,
        lanes=lanes,
        tokens_per_beat=tokens,
        bus_bytes=4,
        sparsity=tuple(NM.parse(mode) for mode in modes),
        index_lines=64 if modes else 0,
    )


SPECS = [
    make_spec(4, 4, 4, 1),
    make_spec(8, 4, 16, 2, "2:8", "1:4"),
    make_spec(4, 16, 8, 2),
    make_spec(4, 4, 4, 2, experts=8),
]


def name(spec: AccelSpec) -> str:
    modes = 1 + len(spec.sparsity)
    return f"{spec.rows}x{spec.columns}-p{spec.tokens_per_beat}-modes{modes}-e{spec.experts}"


def random_command(spec: AccelSpec, kind: str, rng: np.random.Generator) -> Command:
    row_mode, kv = kind == "values", kind != "weights"
    step = spec.columns if row_mode else spec.rows
    routed = {}
    if spec.experts and rng.integers(2):
        lengths = int(rng.integers(1, 1 << 14) * rng.integers(2))
        routed = {"expert": int(rng.integers(1, 1 + spec.experts)), "lengths": lengths}
    return routed | {
        "unit": Unit.STATIONARY,
        "source_kv": int(kv),
        "row_mode": int(row_mode),
        "mode": 0 if kv else int(rng.integers(1 + len(spec.sparsity))),
        "n_tiles": int(rng.integers(1, 4)),
        "k_tiles": int(rng.integers(1, 4)),
        "base": int(rng.integers(0, 1000)),
        "index_base": int(rng.integers(0, 1000)),
        "param_base": int(rng.integers(0, 1000)),
        "use_params": int(not kv and rng.integers(2)),
        "position": int(rng.integers(0, 4 * spec.kv_word // step)) * step,
        "pitch": int(rng.integers(1, 20)),
        "k_valid": int(rng.integers(1, 3 * spec.rows)),
        "array": int(rng.integers(3)),
    }


KINDS = ("weights", "keys", "values")


@pytest.mark.parametrize("pace", ["eager", "slow"])
@pytest.mark.parametrize("kind", [*KINDS, "all"])
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_lines(spec: AccelSpec, kind: str, pace: str) -> None:
    """Commands one after another, tiles taken at once or some cycles later."""
    rng = np.random.default_rng(SPECS.index(spec))
    kinds = [kind if kind != "all" else str(rng.choice(KINDS)) for _ in range(COMMANDS)]
    commands = [random_command(spec, each, rng) for each in kinds]
    tiles = sum(c["n_tiles"] * c["k_tiles"] for c in commands if not is_empty(c))
    slow = pace == "slow"
    waits = rng.integers(0, 12 if slow else 1, tiles).tolist()
    # each command is offered some cycles after the one before was
    offered = np.cumsum(rng.integers(1, 120 if slow else 2, COMMANDS)).tolist()
    model, takes = load_tiles(spec, commands, offered, waits)

    # a source offers the next command once the one before was taken
    starts = {max(o, t + 1) for o, t in zip(offered, [-1, *model.taken], strict=False)}
    late = gather_latency(spec)
    cycles = max(takes[-1], model.ends[-1]) + 6 + late
    payloads = [
        pack(command_layout(Unit.STATIONARY), {k: v for k, v in c.items() if k != "lengths"})
        for c in commands
    ]
    offers = [int(cycle in starts) for cycle in range(cycles)]
    inputs = {"take": [int(cycle in set(takes)) for cycle in range(cycles)]}
    if spec.experts:  # lengths are looked at when a command is taken
        inputs["queue__lengths"] = [int(rng.integers(1 << 14)) for _ in range(cycles)]
        for taken, command in zip(model.taken, commands, strict=True):
            inputs["queue__lengths"][taken] = command.get("lengths", 0)
    source = Source(payloads=payloads, offers=offers)
    trace = run_cycles(Stationary(spec), inputs, cycles=cycles, sources={"command": source})

    assert trace.accepted["command"] == model.taken
    full = [0] * cycles
    for end, take in zip(model.tile_ends, takes, strict=True):
        full[end + 1 : take + 1] = [1] * (take - end)
    assert trace["full"] == full
    dones = [cycle - late for cycle, done in enumerate(trace["done"]) if done]
    assert dones == model.ends
    for cycle in range(cycles - late):
        line = unpack(LINE, trace["line"][cycle + late])
        assert line["valid"] == (cycle in model.steps), f"cycle {cycle}"
        if cycle in model.steps:
            seen = line | {port: trace[port][cycle + late] for port in PORTS}
            wanted = model.steps[cycle]
            assert {key: seen[key] for key in wanted} == wanted, f"cycle {cycle}"
    busy = [
        int(any(t < cycle <= e for t, e in zip(model.taken, model.ends, strict=True)))
        for cycle in range(cycles)
    ]
    assert trace["busy"] == busy
