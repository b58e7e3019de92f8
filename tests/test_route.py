"""ROUTE in hw.vector against models.routing: every winner, every score, every cycle."""

import re
from dataclasses import dataclass

import numpy as np
import pytest

from moesaic.hw.emit import to_verilog
from moesaic.hw.vector import Vector
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Buffer, VectorOp
from moesaic.models.requant import limits
from moesaic.models.routing import Ints, route
from moesaic.models.softmax import softmax
from moesaic.models.vector_timing import SETUP, gate_score_at, second_sweep_wait, vector_cycles
from moesaic.sim.vector_bench import VectorLog, VectorMemory, run_vector

ROWS = 32  # rows of tokens that the memories hold


def make_spec(data_bits: int, tokens_per_beat: int, lanes: int, experts: int) -> AccelSpec:
    return AccelSpec(
        rows=8,
        columns=16,
        tokens_per_beat=tokens_per_beat,
        data_bits=data_bits,
        lanes=lanes,
        experts=experts,
        rowstat_rows=ROWS,
        weight_lines=32,
    )


def name(spec: AccelSpec) -> str:
    parts = (f"int{spec.data_bits}", f"p{spec.tokens_per_beat}", f"lanes{spec.lanes}")
    return "-".join((*parts, f"experts{spec.experts}"))


SPECS = [
    make_spec(data_bits, tokens_per_beat, lanes, experts)
    for data_bits, tokens_per_beat, lanes, experts in (
        (8, 1, 4, 2),
        (16, 1, 4, 8),
        (8, 2, 8, 8),
        (16, 1, 16, 2),
        (16, 1, 8, 16),
        (8, 2, 16, 16),
        (8, 2, 4, 64),
        (16, 1, 16, 64),
    )
]
ANY_SPEC = pytest.mark.parametrize("spec", SPECS, ids=name)
SOME_SPECS = pytest.mark.parametrize("spec", [*SPECS[:3], SPECS[6]], ids=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One command by its shape; `missing` values are short of all experts, or of a full row."""

    top: int = 0  # 0 is a softmax of the same rows
    tokens: int
    missing: int = 0
    token: int = 0
    dest_token: int = 0
    append: bool = False
    source: Buffer = Buffer.SCORE


def memory(spec: AccelSpec, levels: int, step: int, seed: int) -> VectorMemory:
    """Return scratchpads of multiples of `step`, about so many `levels` of them: ties abound."""
    rng = np.random.default_rng(seed)
    words = ROWS * max(1, spec.experts // spec.wide_word)
    shape = (spec.tokens_per_beat, words, spec.wide_word)
    low, high = limits(spec.wide_bits)

    def values() -> Ints:
        return np.clip(rng.integers(-levels, levels, shape, endpoint=True) * step, low, high)

    norm = np.zeros((64, spec.lanes), dtype=np.int64)
    return VectorMemory(score=values(), residual=values(), gain=norm, offset=norm)


def command(spec: AccelSpec, case: Case) -> dict[str, int]:
    valid = max(spec.experts - case.missing, case.top, 1)
    return {
        "unit": 4,
        "op": VectorOp.ROUTE if case.top else VectorOp.SOFTMAX,
        "source": case.source,
        "pitch": max(1, spec.experts // spec.wide_word),
        "token": case.token,
        "tokens": case.tokens,
        "beats": -(-valid // spec.lanes),
        "valid": valid,
        "dest": Buffer.VEC,
        "dest_pitch": 1,
        "dest_token": case.dest_token,
        "multiplier": 1 << 15,
        "shift": 20,
        "top": case.top,
        "append": int(case.append),
    }


def rows(spec: AccelSpec, pads: VectorMemory, fields: dict[str, int]) -> Ints:
    """Return what a command reads, (tokens, valid)."""
    pad = pads.score if fields["source"] == Buffer.SCORE else pads.residual
    banks = spec.tokens_per_beat
    by_token = pad.reshape(banks, -1, fields["pitch"] * spec.wide_word)
    tokens = np.arange(fields["token"], fields["token"] + fields["tokens"])
    return by_token[tokens % banks, tokens // banks, : fields["valid"]]


def check_route(spec: AccelSpec, fields: dict[str, int], x: Ints, log: VectorLog) -> None:
    """Compare the winners of one command, and when they come, with the models."""
    top, tokens, beats = fields["top"], fields["tokens"], fields["beats"]
    routing = route(x, top=top, lanes=spec.lanes, data_bits=spec.data_bits)
    places = [divmod(fields["dest_token"] + i, spec.tokens_per_beat) for i in range(tokens)]
    assert [event[1:] for event in log.routes] == [
        (bank, row, routing.experts[i, rank], routing.scores[i, rank])
        for rank in range(top)
        for i, (row, bank) in enumerate(places)
    ]
    period = max(tokens * beats, beats + second_sweep_wait(spec, VectorOp.ROUTE))
    ends = np.arange(1, tokens + 1) * beats - 1
    reads = [SETUP + sweep * period + np.arange(tokens * beats) for sweep in range(top)]
    assert log.reads == np.concatenate(reads).tolist()
    assert [event[0] for event in log.routes] == np.concatenate(
        [read[ends] + gate_score_at(spec) for read in reads]
    ).tolist()
    assert log.route_starts == ([] if fields["append"] else [2])
    assert log.writes == []
    assert log.statistics == []


def check_softmax(spec: AccelSpec, fields: dict[str, int], x: Ints, log: VectorLog) -> None:
    y, multiplier, shift = softmax(
        x,
        valid=fields["valid"],
        multiplier=fields["multiplier"],
        shift=fields["shift"],
        lanes=spec.lanes,
        data_bits=spec.data_bits,
    )
    padded = np.zeros((fields["tokens"], fields["beats"] * spec.lanes), dtype=np.int64)
    padded[:, : fields["valid"]] = y
    got = np.array([write[5] for write in log.writes]).reshape(padded.shape)
    np.testing.assert_array_equal(got, padded)
    assert [s[3:] for s in log.statistics] == list(zip(multiplier, shift, strict=True))
    assert log.routes == []
    assert log.route_starts == []


def check(
    spec: AccelSpec, cases: list[Case], pads: VectorMemory, gaps: list[int] | None = None
) -> None:
    """Run the cases one after another, by default back to back."""
    commands = [command(spec, case) for case in cases]
    gaps = gaps or [0] * len(cases)
    logs = run_vector(spec, pads, commands, gaps)
    ready = 0
    for fields, log, gap in zip(commands, logs, gaps, strict=True):
        op = VectorOp(fields["op"])
        assert log.waited == max(ready, gap)
        ready, done = vector_cycles(spec, op, fields["tokens"], fields["beats"], fields["top"])
        assert log.done == [done]
        compare = check_route if op == VectorOp.ROUTE else check_softmax
        compare(spec, fields, rows(spec, pads, fields), log)


def tops(spec: AccelSpec) -> range:
    return range(1, min(4, spec.experts) + 1)


@pytest.mark.parametrize(
    ("levels", "step"),
    [(2000, 1), (3, 40), (0, 0), (2, 1 << 30)],
    ids=["random", "ties", "level", "saturated"],
)
@ANY_SPEC
def test_winners(spec: AccelSpec, levels: int, step: int) -> None:
    """Rows of all lengths, back to back."""
    cases = [
        Case(top=top, tokens=tokens, missing=missing)
        for top in tops(spec)
        for tokens, missing in ((1, 0), (3, 1), (2, spec.experts - top))
    ]
    cases += [Case(top=tops(spec)[-1], tokens=31)]
    check(spec, cases, memory(spec, levels, step, 1))


@SOME_SPECS
def test_between_other_commands(spec: AccelSpec) -> None:
    """Softmax before and after, at once and later; from any token to any token."""
    top = min(2, spec.experts)
    cases = [
        Case(tokens=3),
        Case(top=top, tokens=5, token=1, dest_token=3),
        Case(tokens=1),
        Case(top=1, tokens=2, token=4, source=Buffer.RESIDUAL),
        Case(top=top, tokens=7, missing=1, dest_token=6, append=True),
        Case(tokens=6, missing=1, token=2),
    ]
    pads = memory(spec, 900, 1, 2)
    check(spec, cases, pads)
    check(spec, cases, pads, [3, 0, 200, 1, 170, 150])


@pytest.mark.parametrize("rising", [False, True], ids=["falling", "rising"])
@SOME_SPECS
def test_the_maximum_moves_along_the_row(spec: AccelSpec, rising: bool) -> None:
    pads = memory(spec, 3000, 1, 3)
    length = spec.wide_word * max(1, spec.experts // spec.wide_word)
    by_row = pads.score.reshape(spec.tokens_per_beat, -1, length)
    by_row[..., : spec.experts].sort(axis=2)
    if not rising:
        by_row[..., : spec.experts] = by_row[..., : spec.experts][..., ::-1]
    check(spec, [Case(top=top, tokens=4) for top in tops(spec)], pads)


def test_hardware_for_routing_needs_experts() -> None:
    with_experts, without = (make_spec(8, 1, 4, experts) for experts in (2, 0))
    for spec, count in ((with_experts, 1), (without, 0)):
        text = to_verilog(Vector(spec), name="moesaic_vector")
        assert len(re.findall(r"^module \S*winner\(", text, re.MULTILINE)) == count
        assert ("route" in text) == bool(count)
