"""hw.vector against the models: every value, every address, every cycle."""

from dataclasses import dataclass

import numpy as np
import pytest

from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, VectorOp
from moesaic.models.layernorm import Ints, layernorm, reciprocal_field
from moesaic.models.requant import limits, saturate
from moesaic.models.scale import scale
from moesaic.models.softmax import softmax
from moesaic.models.vector_timing import SETUP, vector_cycles
from moesaic.sim.vector_bench import VectorLog, VectorMemory, run_vector

WORDS = 64
NORM_WORDS = 16


def make_spec(data_bits: int, lanes: int, columns: int, tokens_per_beat: int) -> AccelSpec:
    return AccelSpec(
        rows=8,
        columns=columns,
        tokens_per_beat=tokens_per_beat,
        data_bits=data_bits,
        lanes=lanes,
        rowstat_rows=8,
        weight_lines=2 * columns,
    )


SPECS = [make_spec(8, 4, 4, 1), make_spec(16, 4, 16, 1), make_spec(8, 8, 16, 2)]


def name(spec: AccelSpec) -> str:
    return f"int{spec.data_bits}-lanes{spec.lanes}-columns{spec.columns}-p{spec.tokens_per_beat}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One command by its shape; all else follows from the seed."""

    op: VectorOp
    tokens: int
    beats: int
    missing: int  # values short of full beats
    token: int = 0
    dest_token: int = 0
    slice: int = 0
    dest_slice: int = 0
    dest: Buffer = Buffer.VEC
    spread: float = 1.0


def command(spec: AccelSpec, case: Case, rng: np.random.Generator) -> dict[str, int]:
    """Return the fields of a command whose rows fit the memories of :func:`memory`."""
    valid = case.beats * spec.lanes - case.missing
    norm = case.op == VectorOp.LAYERNORM
    wide = spec.wide_bits
    shift = {
        VectorOp.LAYERNORM: 20 if case.dest != Buffer.RESIDUAL else 24,
        VectorOp.SOFTMAX: int(rng.integers(0, 40)),
        VectorOp.SCALE: int(rng.integers(wide - 2, wide + 14)),
    }[case.op]
    return {
        "unit": 4,
        "op": case.op,
        "source": Buffer.SCORE if case.op == VectorOp.SOFTMAX else Buffer.RESIDUAL,
        "base": int(rng.integers(0, 4)),
        "pitch": 6,
        "token": case.token,
        "tokens": case.tokens,
        "beats": case.beats,
        "valid": valid,
        "dest": case.dest,
        "dest_base": int(rng.integers(0, 100)),
        "dest_pitch": int(rng.integers(1, 100)),
        "dest_token": case.dest_token,
        "position": case.slice * spec.lanes,
        "dest_position": case.dest_slice * spec.lanes,
        "norm_base": int(rng.integers(0, 4)),
        "rowstat_base": int(rng.integers(0, 100)),
        "multiplier": int(rng.integers(1 << 15, 1 << 16)),
        "shift": shift,
        "reciprocal": reciprocal_field(valid) if norm else 0,
        "epsilon": int(rng.integers(1, 1 << 12)),
    }


def memory(spec: AccelSpec, spread: float, seed: int) -> VectorMemory:
    """Return scratchpads with values of standard deviation `spread` times 2**10 (or 2**18)."""
    rng = np.random.default_rng(seed)
    shape = (spec.tokens_per_beat, WORDS, spec.wide_word)
    unit = spread * 2 ** (spec.wide_bits - 6)

    def values() -> Ints:
        level = rng.normal(0, unit, (*shape[:2], 1))
        return saturate(
            np.rint(rng.normal(0, unit, shape) + level).astype(np.int64), spec.wide_bits
        )

    low, high = limits(16)
    gains = rng.integers(low, high, (NORM_WORDS, spec.lanes), endpoint=True)
    offsets = rng.integers(-(1 << 28), 1 << 28, (NORM_WORDS, spec.lanes))
    return VectorMemory(score=values(), residual=values(), gain=gains, offset=offsets)


def expected(
    spec: AccelSpec, memory: VectorMemory, fields: dict[str, int]
) -> tuple[list[tuple[tuple[int, ...], Ints]], list[tuple[int, ...]]]:
    """Return places and values of all writes, and all row statistics, in order."""
    banks, lanes = spec.tokens_per_beat, spec.lanes
    to_wide = fields["dest"] == Buffer.RESIDUAL
    pad = memory.score if fields["source"] == Buffer.SCORE else memory.residual
    flat = pad.reshape(banks, -1)
    length, valid = fields["beats"] * lanes, fields["valid"]
    x = np.zeros((fields["tokens"], length), dtype=np.int64)
    for i in range(fields["tokens"]):
        row, bank = divmod(fields["token"] + i, banks)
        first = (fields["base"] + row * fields["pitch"]) * spec.wide_word + fields["position"]
        x[i] = flat[bank, first : first + length]

    y = np.zeros_like(x)
    statistics = []
    if fields["op"] == VectorOp.SOFTMAX:
        y, multiplier, shift = softmax(
            x,
            valid=valid,
            multiplier=fields["multiplier"],
            shift=fields["shift"],
            lanes=lanes,
            data_bits=spec.data_bits,
        )
        for i in range(fields["tokens"]):
            row, bank = divmod(fields["dest_token"] + i, banks)
            statistics.append(
                (bank, fields["rowstat_base"] + row, int(multiplier[i]), int(shift[i]))
            )
    elif fields["op"] == VectorOp.LAYERNORM:
        words = slice(fields["norm_base"], fields["norm_base"] + fields["beats"])
        y[:, :valid] = layernorm(
            x[:, :valid],
            memory.gain[words].ravel()[:valid],
            memory.offset[words].ravel()[:valid],
            shift=fields["shift"],
            epsilon=fields["epsilon"],
            out_bits=spec.wide_bits if to_wide else spec.data_bits,
            data_bits=spec.data_bits,
        )
    else:
        y[:, :valid] = scale(
            x[:, :valid],
            multiplier=fields["multiplier"],
            shift=fields["shift"],
            data_bits=spec.data_bits,
        )

    dest = Buffer(fields["dest"])
    values = {Buffer.VEC: spec.act_word, Buffer.KV: spec.kv_word, Buffer.RESIDUAL: spec.wide_word}
    writes = []
    for i in range(fields["tokens"]):
        row, bank = divmod(fields["dest_token"] + i, banks)
        for first in range(0, length, lanes):
            word, place = divmod(fields["dest_position"] + first, values[dest])
            address = fields["dest_base"] + row * fields["dest_pitch"] + word
            writes.append(((dest, bank, address, place // lanes), y[i, first : first + lanes]))
    return writes, statistics


def check(spec: AccelSpec, cases: list[Case], *, seed: int, gap: int) -> list[VectorLog]:
    """Run the cases one after another; compare all that was written, and when."""
    rng = np.random.default_rng(seed)
    pads = memory(spec, cases[0].spread, seed)
    golden = VectorMemory(
        score=pads.score,
        residual=pads.residual.copy(),
        gain=pads.gain,
        offset=pads.offset,
    )
    commands = [command(spec, case, rng) for case in cases]
    for fields, case in zip(commands, cases, strict=True):
        if case.dest == Buffer.RESIDUAL:  # in place, as a post-norm stream is
            fields |= {"dest_base": fields["base"], "dest_pitch": fields["pitch"]}
    gaps = rng.integers(0, gap + 1, len(cases)).tolist()
    logs = run_vector(spec, pads, commands, gaps)
    assert len(logs) == len(cases)

    for fields, log in zip(commands, logs, strict=True):
        writes, statistics = expected(spec, golden, fields)
        to_wide = fields["dest"] == Buffer.RESIDUAL
        assert [w[1:5] for w in log.writes] == [place for place, _ in writes]
        got = np.array([w[6 if to_wide else 5] for w in log.writes])
        np.testing.assert_array_equal(got, np.array([y for _, y in writes]))
        assert [s[1:] for s in log.statistics] == statistics
        if to_wide:
            for (_, bank, word, sub), y in writes:
                golden.residual[bank, word, sub * spec.lanes :][: spec.lanes] = y

        _, done = vector_cycles(spec, VectorOp(fields["op"]), fields["tokens"], fields["beats"])
        assert log.done == [done]
        assert log.writes[-1][0] == done
        assert log.reads[0] == SETUP
        assert all(s[0] <= done for s in log.statistics)
    for before, log, pause in zip(logs, logs[1:], gaps[1:], strict=False):
        ready, _ = vector_cycles(
            spec,
            VectorOp(commands[logs.index(before)]["op"]),
            commands[logs.index(before)]["tokens"],
            commands[logs.index(before)]["beats"],
        )
        assert log.accepted - before.accepted == max(ready, pause)
    return logs


SHAPES = [(1, 1, 0), (1, 5, 1), (2, 2, 3), (5, 1, 2), (9, 3, 0)]


@pytest.mark.parametrize("op", list(VectorOp), ids=lambda op: op.name.lower())
@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_rows_of_all_shapes(spec: AccelSpec, op: VectorOp) -> None:
    cases = [
        Case(op=op, tokens=tokens, beats=beats, missing=missing)
        for tokens, beats, missing in SHAPES
    ]
    check(spec, cases, seed=1, gap=0)
