"""hw.gather: addresses and scores of queued tokens, bank by bank, beside beats that pass."""

import numpy as np
import pytest

from moesaic.hw.gather import Gather
from moesaic.hw.stream import BEAT
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Epilogue
from moesaic.models.pipeline import RAM_READ, gather_latency, log2
from moesaic.sim.cycle_bench import pack, run_cycles, unpack

CYCLES = 300


def make_spec(tokens: int, experts: int, depth: int) -> AccelSpec:
    return AccelSpec(
        rows=8,
        columns=4,
        lanes=4,
        tokens_per_beat=tokens,
        bus_bytes=4,
        psum_depth=depth,
        experts=experts,
    )


SPECS = [make_spec(1, 4, 8), make_spec(2, 64, 64)]


def name(spec: AccelSpec) -> str:
    return f"p{spec.tokens_per_beat}-e{spec.experts}"


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_every_beat(spec: AccelSpec) -> None:
    """One beat a cycle; the queues answer any place with noise, RAM_READ later."""
    rng = np.random.default_rng(spec.experts)
    row_bits, banks, latency = log2(spec.psum_depth), spec.tokens_per_beat, gather_latency(spec)
    rows = rng.integers(spec.psum_depth, size=(CYCLES, 2))
    scores = rng.integers(1 << 16, size=(CYCLES, 2))
    beats = []
    for _ in range(CYCLES):
        beat = {
            field: int(rng.integers(1 << min(shape, 16))) for field, shape in BEAT.members.items()
        }
        beat |= {"pitch": int(rng.integers(20)), "dest_pitch": int(rng.integers(20))}
        beat |= {"epilogue": int(rng.integers(5)), "row": int(rng.integers(spec.psum_depth))}
        beat |= {"expert": int(rng.integers(1 + spec.experts))}
        beat["word1"], beat["dest_word1"] = beat["word"], beat["dest_word"]
        beats.append(beat)

    inputs = {"i": [pack(BEAT, beat) for beat in beats]}
    for port, values, bits in (("rows", rows, row_bits), ("scores", scores, 16)):
        words = [sum(int(v) << bits * b for b, v in enumerate(row[:banks])) for row in values]
        inputs[f"queue__{port}"] = [0] * RAM_READ + words[: CYCLES - RAM_READ]
    trace = run_cycles(Gather(spec), inputs, cycles=CYCLES)

    for cycle, beat in enumerate(beats[: CYCLES - latency]):
        assert trace["queue__place"][cycle] == beat["row"]
        assert trace["queue__expert"][cycle] == (beat["expert"] - 1) % 64
        wanted = dict(beat)
        for bank, suffix in enumerate(("", "1")[:banks]):
            row = int(rows[cycle, bank])
            if beat["gather"]:
                wanted[f"word{suffix}"] += row * beat["pitch"]
            if beat["epilogue"] == Epilogue.WEIGH:
                wanted[f"dest_word{suffix}"] += row * beat["dest_pitch"]
            wanted[f"score{bank}"] = int(scores[cycle, bank])
        got = unpack(BEAT, trace["o"][cycle + latency])
        assert got == wanted, f"cycle {cycle}"
