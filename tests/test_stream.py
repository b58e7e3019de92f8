"""hw.stream against plain loops: every beat, its addresses and flags, and its cycle."""

import numpy as np
import pytest

from moesaic.hw.command_layout import command_layout
from moesaic.hw.queue_ports import length_bits
from moesaic.hw.stream import BEAT, Stream
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.commands import Buffer, Command, Unit
from moesaic.models.errors import InputError
from moesaic.models.geometry import narrow_word
from moesaic.sim.cycle_bench import Source, pack, run_cycles, unpack
from moesaic.sim.sequencer_model import LENGTH_PITCH, queue_lengths, stream_tiles

COMMANDS = 8
SOURCES = (Buffer.INPUT, Buffer.ACT, Buffer.VEC)
TARGETS = (Buffer.ACT, Buffer.KV, Buffer.SCORE, Buffer.RESIDUAL)


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
    make_spec(4, 16, 32, 2, "2:4"),
    make_spec(4, 4, 4, 2, experts=8),
    make_spec(8, 4, 8, 1, "2:4", experts=64),
]


def name(spec: AccelSpec) -> str:
    modes = 1 + len(spec.sparsity)
    return f"{spec.rows}x{spec.columns}-p{spec.tokens_per_beat}-modes{modes}-e{spec.experts}"


def random_command(spec: AccelSpec, most_beats: int, rng: np.random.Generator) -> Command:
    mode = int(rng.integers(1 + len(spec.sparsity)))
    step = spec.operands_per_beat((None, *spec.sparsity)[mode])
    dest = Buffer(int(rng.choice(TARGETS)))
    places = 3 * narrow_word(spec, dest) // spec.columns
    routed = {"epilogue": int(rng.integers(4))}
    if spec.experts:
        lengths = rng.integers(0, most_beats + 1, 2) * rng.integers(0, 2, 2)
        expert = int(rng.integers(1 + spec.experts)) * int(rng.integers(2))
        lengths[1] *= spec.tokens_per_beat - 1
        routed = {
            "epilogue": int(rng.integers(5)),
            "expert": expert,
            "gather": int(rng.integers(2)),
            "lengths": int(lengths[0] + (lengths[1] << LENGTH_PITCH)),
        }
        if expert and rng.integers(2):  # one token, if there is one
            row = int(rng.integers(spec.psum_depth))
            bank = int(rng.integers(spec.tokens_per_beat))
            routed["place"] = 1 + row * spec.tokens_per_beat + bank
            routed["lengths"] = (row + 1 << LENGTH_PITCH * bank) * int(rng.integers(2))
    return routed | {
        "unit": Unit.STREAM,
        "source": int(rng.choice(SOURCES)),
        "mode": mode,
        "beats": int(rng.integers(1, most_beats + 1)),
        "odd": int(rng.integers(2)),
        "n_tiles": int(rng.integers(1, 4)),
        "k_tiles": int(rng.integers(1, 4)),
        "base": int(rng.integers(0, 1000)),
        "position": int(rng.integers(0, 3 * spec.act_word // step)) * step,
        "pitch": int(rng.integers(1, 20)),
        "dest": dest,
        "dest_base": int(rng.integers(0, 1000)),
        "dest_pitch": int(rng.integers(1, 20)),
        "dest_position": int(rng.integers(0, places)) * spec.columns,
        "scale_source": int(rng.integers(3)),
        "rowstat_base": int(rng.integers(0, 100)),
        "post_multiplier": int(rng.integers(1 << 16)),
        "post_shift": int(rng.integers(64)),
        "array": int(rng.integers(3)),
    }


@pytest.mark.parametrize("most_beats", [1, 2, 9], ids=lambda beats: f"beats{beats}")
@pytest.mark.parametrize("pace", ["eager", "slow"])
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_beats(spec: AccelSpec, pace: str, most_beats: int) -> None:
    """Commands one after another, weights there at once or some cycles later."""
    rng = np.random.default_rng([SPECS.index(spec), most_beats])
    commands = [random_command(spec, most_beats, rng) for _ in range(COMMANDS)]
    tiles = sum(c["n_tiles"] * c["k_tiles"] for c in commands)
    slow = pace == "slow"
    waits = rng.integers(0, 2 * most_beats + 3 if slow else 1, tiles).tolist()
    offered = np.cumsum(rng.integers(1, 60 if slow else 2, COMMANDS)).tolist()
    model, full = stream_tiles(spec, commands, offered, waits)

    starts = {max(o, t + 1) for o, t in zip(offered, [-1, *model.taken], strict=False)}
    cycles = model.ends[-1] + 6
    there = [0] * cycles
    for begin, take in zip(full, model.tile_starts, strict=True):
        there[begin : take + 1] = [1] * (take + 1 - begin)
    payloads = [
        pack(command_layout(Unit.STREAM), {k: v for k, v in c.items() if k != "lengths"})
        for c in commands
    ]
    inputs = {"full": there}
    if spec.experts:  # lengths are looked at when a command is taken
        inputs["queue__lengths"] = [int(rng.integers(1 << 7)) for _ in range(cycles)]
        for taken, command in zip(model.taken, commands, strict=True):
            first, second = queue_lengths(command)
            inputs["queue__lengths"][taken] = first | second << length_bits(spec)
    source = Source(payloads=payloads, offers=[int(cycle in starts) for cycle in range(cycles)])
    trace = run_cycles(Stream(spec), inputs, cycles=cycles, sources={"command": source})

    assert trace.accepted["command"] == model.taken
    assert [cycle for cycle, take in enumerate(trace["take"]) if take] == model.tile_starts
    for cycle in range(cycles):
        beat = unpack(BEAT, trace["beat"][cycle])
        assert beat["valid"] == (cycle in model.steps), f"cycle {cycle}"
        if cycle in model.steps:
            wanted = model.steps[cycle]
            assert beat == wanted | {"valid": 1}, f"cycle {cycle}"
        assert beat["done"] == (cycle in model.ends), f"cycle {cycle}"
        active = any(t < cycle <= e for t, e in zip(model.taken, model.ends, strict=True))
        assert trace["busy"][cycle] == active
        assert trace["starved"][cycle] == (active and cycle not in (*model.steps, *model.empty))


def test_beats_have_no_gaps_when_weights_are_ready() -> None:
    """What the beats are compared with: tiles and commands in consecutive cycles."""
    spec = SPECS[0]
    rng = np.random.default_rng(5)
    commands = [random_command(spec, 4, rng) for _ in range(4)]
    model, _ = stream_tiles(spec, commands, [1, 2, 3, 4], [0])
    assert sorted(model.steps) == list(range(2, 2 + len(model.steps)))


def test_words_have_no_more_slices_than_a_beat_can_name() -> None:
    widest = make_spec(128, 8, 8, 1, "1:16")
    assert widest.act_word // widest.columns == 1 << dict(iter(BEAT))["dest_slice"].width
    for columns, lanes in ((4, 8), (8, 4)):
        with pytest.raises(
            InputError, match=r"rows \* largest M/N must be at most 1024 .*not 2048"
        ):
            make_spec(128, columns, lanes, 1, "1:16")
