"""hw.vector against the models: every value, every address, every cycle."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from moesaic.hw.emit import to_verilog
from moesaic.hw.vector import Vector
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, VectorOp
from moesaic.models.graph import SCORE_FRACTION_BITS
from moesaic.models.layernorm import Ints, layernorm, reciprocal_field
from moesaic.models.requant import limits, saturate
from moesaic.models.scale import scale
from moesaic.models.softmax import softmax
from moesaic.models.vector_timing import SETUP, vector_cycles
from moesaic.sim.vector_bench import VectorLog, VectorMemory, run_vector

WORDS = 128
PITCH = 8
NORM_WORDS = 256


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
    epsilon: int = 1000
    passes: int = 0


def command(spec: AccelSpec, case: Case, rng: np.random.Generator) -> dict[str, int]:
    """Return the fields of a command whose rows fit the memories of :func:`memory`."""
    valid = case.beats * spec.lanes - case.missing
    norm = case.op == VectorOp.LAYERNORM
    out_bits = spec.wide_bits if case.dest == Buffer.RESIDUAL else spec.data_bits
    shift = {
        VectorOp.LAYERNORM: 33 - out_bits,  # most results fit, some do not
        VectorOp.SOFTMAX: int(rng.integers(0, 50)),
        VectorOp.SCALE: int(rng.integers(17, 23)),
    }[case.op]
    return {
        "unit": 4,
        "op": case.op,
        "source": Buffer.SCORE if case.op == VectorOp.SOFTMAX else Buffer.RESIDUAL,
        "base": PITCH if case.op == VectorOp.SOFTMAX else int(rng.integers(0, 8)),
        "pitch": PITCH,
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
        "epsilon": case.epsilon,
        "passes": case.passes,
    }


def memory(spec: AccelSpec, spread: float, seed: int) -> VectorMemory:
    """Return scratchpads; `spread` is the deviation in powers of two, or of a 32nd of the range."""
    rng = np.random.default_rng(seed)
    shape = (spec.tokens_per_beat, WORDS, spec.wide_word)

    def values(unit: float) -> Ints:
        level = rng.normal(0, unit, (*shape[:2], 1))
        return saturate(
            np.rint(rng.normal(0, unit, shape) + level).astype(np.int64), spec.wide_bits
        )

    low, high = limits(16)
    gains = rng.integers(low, high, (NORM_WORDS, spec.lanes), endpoint=True)
    offsets = rng.integers(-(1 << 28), 1 << 28, (NORM_WORDS, spec.lanes))
    return VectorMemory(
        score=values(spread * 2**SCORE_FRACTION_BITS),
        residual=values(spread * 2 ** (spec.wide_bits - 6)),
        gain=gains,
        offset=offsets,
    )


Writes = list[tuple[tuple[int, ...], Ints]]
Statistics = list[tuple[int, ...]]


def expected(
    spec: AccelSpec, memory: VectorMemory, fields: dict[str, int]
) -> tuple[Writes, Statistics]:
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
    statistics: Statistics = []
    if fields["op"] == VectorOp.SOFTMAX:
        y, multiplier, shift = softmax(
            x,
            valid=valid,
            multiplier=fields["multiplier"],
            shift=fields["shift"],
            lanes=lanes,
            data_bits=spec.data_bits,
            passes=max(1, fields["passes"]),
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
    writes: Writes = []
    for i in range(fields["tokens"]):
        row, bank = divmod(fields["dest_token"] + i, banks)
        for first in range(0, length, lanes):
            word, place = divmod(fields["dest_position"] + first, values[dest])
            address = fields["dest_base"] + row * fields["dest_pitch"] + word
            writes.append(((dest, bank, address, place // lanes), y[i, first : first + lanes]))
    twice = fields["op"] == VectorOp.SOFTMAX and fields["passes"] == 3
    return writes * (2 if twice else 1), statistics


def check(
    spec: AccelSpec, cases: list[Case], pads: VectorMemory, *, seed: int = 0, gap: int = 0
) -> None:
    """Run the cases one after another; compare all that was written, and when."""
    rng = np.random.default_rng(seed)
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

    ready = 0
    for fields, log, pause in zip(commands, logs, gaps, strict=True):
        writes, statistics = expected(spec, golden, fields)
        to_wide = fields["dest"] == Buffer.RESIDUAL
        assert [w[1:5] for w in log.writes] == [place for place, _ in writes]
        got = np.array([w[6 if to_wide else 5] for w in log.writes])
        np.testing.assert_array_equal(got, np.array([y for _, y in writes]))
        assert [s[1:] for s in log.statistics] == statistics
        if to_wide:
            for (_, bank, word, sub), y in writes:
                golden.residual[bank, word, sub * spec.lanes :][: spec.lanes] = y
        ready = check_cycles(spec, fields, log, first=max(ready, pause))


def check_cycles(spec: AccelSpec, fields: dict[str, int], log: VectorLog, *, first: int) -> int:
    """Compare a command's cycles with the model's; return when the next may begin."""
    tokens, beats = fields["tokens"], fields["beats"]
    ready, done = vector_cycles(
        spec, VectorOp(fields["op"]), tokens, beats, passes=fields["passes"]
    )
    assert log.waited == first
    assert log.reads[0] == SETUP
    assert np.diff(log.reads[: tokens * beats]).tolist() == [1] * (tokens * beats - 1)
    assert log.done == [done]
    last = np.arange(done - len(log.writes) + 1, done + 1)
    assert [write[0] for write in log.writes] == last.tolist()
    assert all(statistic[0] <= done for statistic in log.statistics)
    return ready


OPS = [VectorOp.LAYERNORM, VectorOp.SOFTMAX, VectorOp.SCALE]  # test_route.py has the other
ANY_OP = pytest.mark.parametrize("op", OPS, ids=lambda op: op.name.lower())
ANY_SPEC = pytest.mark.parametrize("spec", SPECS, ids=name)
ANY_PASSES = pytest.mark.parametrize("passes", [2, 3])
PASSES_SPECS = [*SPECS, make_spec(8, 16, 16, 1)]

SHAPES = [(1, 1, 0), (1, 5, 1), (2, 2, 3), (5, 1, 2), (8, 3, 0), (3, 3, 5)]


@ANY_OP
@ANY_SPEC
def test_rows_of_all_shapes(spec: AccelSpec, op: VectorOp) -> None:
    cases = [Case(op=op, tokens=t, beats=b, missing=missing) for t, b, missing in SHAPES]
    check(spec, cases, memory(spec, 1.0, 1))


@ANY_OP
@ANY_SPEC
def test_places(spec: AccelSpec, op: VectorOp) -> None:
    """Rows that begin inside a word, at any token, from and to every buffer."""
    wide = (Buffer.RESIDUAL,) if op == VectorOp.LAYERNORM else ()
    cases = []
    for i, dest in enumerate((Buffer.VEC, Buffer.KV, *wide) * 2):
        place = {"token": 1 + i, "dest_token": 2 * i + 1, "slice": i + 1, "dest_slice": 3 * i + 1}
        if dest == Buffer.RESIDUAL:
            place |= {"dest_token": 1 + i, "dest_slice": i + 1}
        cases.append(Case(op=op, tokens=3, beats=3, missing=2, dest=dest, **place))
    check(spec, cases, memory(spec, 1.0, 2))


@ANY_SPEC
def test_commands_of_all_kinds_with_gaps(spec: AccelSpec) -> None:
    rng = np.random.default_rng(3)
    cases = [
        Case(
            op=VectorOp(int(rng.integers(3))),
            tokens=int(rng.integers(1, 7)),
            beats=int(rng.integers(1, 5)),
            missing=int(rng.integers(spec.lanes)),
            dest=Buffer(int(rng.choice([Buffer.VEC, Buffer.KV]))),
        )
        for _ in range(8)
    ]
    check(spec, cases, memory(spec, 1.0, 3))
    check(spec, cases, memory(spec, 1.0, 4), seed=4, gap=150)


@ANY_OP
@pytest.mark.parametrize("spread", [0.0, 0.002, 30.0], ids=["level", "narrow", "saturated"])
@ANY_SPEC
def test_extreme_values(spec: AccelSpec, op: VectorOp, spread: float) -> None:
    cases = [
        Case(op=op, tokens=6, beats=4, missing=3),
        Case(op=op, tokens=2, beats=1, missing=spec.lanes - 1),
    ]
    check(spec, cases, memory(spec, spread, 5))


@ANY_SPEC
def test_rising_scores(spec: AccelSpec) -> None:
    """The maximum of every row grows from beat to beat, and falls from row to row."""
    case = Case(op=VectorOp.SOFTMAX, tokens=6, beats=6, missing=1)
    pads = memory(spec, 4.0, 6)
    pads.score.reshape(spec.tokens_per_beat, -1, PITCH * spec.wide_word).sort(axis=2)
    check(spec, [case] * 2, pads)


@ANY_PASSES
@pytest.mark.parametrize("spec", PASSES_SPECS, ids=name)
def test_several_passes(spec: AccelSpec, passes: int) -> None:
    """Rows of all shapes, whose maxima rise from beat to beat, alone and behind each other."""
    cases = [
        Case(op=VectorOp.SOFTMAX, tokens=t, beats=b, missing=missing, passes=passes)
        for t, b, missing in SHAPES
    ]
    pads = memory(spec, 4.0, 8)
    pads.score.reshape(spec.tokens_per_beat, -1, PITCH * spec.wide_word).sort(axis=2)
    check(spec, cases, pads)


@ANY_SPEC
def test_several_passes_between_other_commands(spec: AccelSpec) -> None:
    """The field means nothing to them, and nothing is left of a softmax to the one behind it."""
    rng = np.random.default_rng(9)
    cases = [
        Case(
            op=op,
            tokens=int(rng.integers(1, 7)),
            beats=int(rng.integers(1, 5)),
            missing=int(rng.integers(spec.lanes)),
            token=int(rng.integers(4)),
            dest_token=int(rng.integers(4)),
            slice=int(rng.integers(3)),
            passes=passes,
        )
        for op, passes in [
            *((op, 3) for op in OPS),
            *((VectorOp.SOFTMAX, passes) for passes in (2, 1, 3, 0)),
            (VectorOp.LAYERNORM, 2),
        ]
    ]
    check(spec, cases, memory(spec, 2.0, 9))
    check(spec, cases[::-1], memory(spec, 30.0, 10), seed=10, gap=150)


@pytest.mark.parametrize("spec", [SPECS[0], SPECS[2]], ids=name)
def test_passes_differ_in_row_statistics_only(spec: AccelSpec) -> None:
    """Far below a maximum that comes last: cut one by one, or summed first and then shifted."""
    beats = 384 // spec.lanes
    pads = memory(spec, 1.0, 11)
    rng = np.random.default_rng(11)
    pads.score[:] = rng.integers(-14 << SCORE_FRACTION_BITS, -13 << SCORE_FRACTION_BITS)
    end = PITCH * spec.wide_word + beats * spec.lanes
    pads.score.reshape(spec.tokens_per_beat, -1)[:, end - 1] = 0
    cases = [
        Case(op=VectorOp.SOFTMAX, tokens=1, beats=beats, missing=0, passes=passes)
        for passes in (1, 2, 3)
    ]
    shared = command(spec, cases[0], rng)
    commands = [shared | {"passes": case.passes} for case in cases]
    one, two, three = (
        [s[1:] for s in log.statistics] for log in run_vector(spec, pads, commands, [0] * 3)
    )
    assert [one, two, three] == [expected(spec, pads, fields)[1] for fields in commands]
    assert one != two == three
    check(spec, cases, pads)


def test_rows_that_differ_in_cut_bits_only() -> None:
    """The squares see nothing of them; normalised values are far beyond their range."""
    spec = SPECS[1]
    pads = memory(spec, 1.0, 7)
    pads.residual[:] = -4096 + np.random.default_rng(7).integers(0, 64, pads.residual.shape)
    case = Case(op=VectorOp.LAYERNORM, tokens=1, beats=200, missing=1, epsilon=1)
    check(spec, [case], pads)


def test_placed_lanes_are_one_module() -> None:
    vector = Vector(SPECS[0], lane_module="moesaic_vector_lane")
    text = to_verilog(vector, name="moesaic_vector", extra=vector.cells)
    assert len(re.findall(r"^module moesaic_vector_lane\(", text, re.MULTILINE)) == 1
    assert len(re.findall(r"^  moesaic_vector_lane \w+ \(", text, re.MULTILINE)) == 4
