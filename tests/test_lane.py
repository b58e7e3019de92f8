"""hw.lane against models.requant and models.gelu: partial sums, epilogues, limits, latencies."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from moesaic.hw.column import sum_bits
from moesaic.hw.lane import GELUS, Lane
from moesaic.hw.requant import Requant
from moesaic.models import pipeline
from moesaic.models.accel import AccelSpec
from moesaic.models.commands import Epilogue
from moesaic.models.gelu import output_bits
from moesaic.models.gelu_forms import GELU_FORMS
from moesaic.models.requant import BIAS_BITS, limits, requant, saturate
from moesaic.sim.cycle_bench import run_cycles

ROWS = 3  # the fewest cycles between two visits of a partial sum
SPECS = [
    AccelSpec(
        rows=8,
        columns=4,
        lanes=4,
        data_bits=bits,
        bus_bytes=4,
        psum_depth=8,
        weight_lines=8,
        experts=experts,
        gelu=gelu,
    )
    for bits, experts, gelu in (
        (8, 4, "table"),
        (16, 4, "table"),
        (8, 0, "table"),
        (8, 0, "polynomial"),
        (16, 4, "polynomial"),
    )
]
ANY_SPEC = pytest.mark.parametrize(
    "spec", SPECS, ids=lambda spec: f"int{spec.data_bits}-e{spec.experts}-{spec.gelu}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What finishes one sum."""

    epilogue: Epilogue
    bias: int
    unbiased: int
    multiplier: int
    shift: int
    post_multiplier: int
    post_shift: int
    residual: int


def finish(spec: AccelSpec, total: int, out: Output) -> dict[str, int]:
    """Return both results by the models."""
    acc = np.array([total + (0 if out.unbiased else out.bias)])
    y = requant(acc, out.multiplier, out.shift, spec.wide_bits)
    if out.epilogue in (Epilogue.GELU, Epilogue.WEIGH):
        gelu = GELU_FORMS[spec.gelu]
        curve = gelu(y, spec.wide_bits) if out.epilogue == Epilogue.GELU else y
        y = requant(curve, out.post_multiplier, out.post_shift, spec.wide_bits)
    narrow = saturate(y, spec.data_bits)
    adds = out.epilogue in (Epilogue.ADD, Epilogue.WEIGH)
    wide = saturate(y + out.residual * adds, spec.wide_bits)
    return {"wide": int(wide[0]), "narrow": int(narrow[0])}


@dataclass(slots=True)
class Bench:
    """A lane's inputs by cycle, and the results that are due."""

    spec: AccelSpec
    inputs: dict[str, dict[int, int]] = field(default_factory=dict)
    due: list[tuple[int, int, Output]] = field(default_factory=list)  # cycle, sum, output

    def drive(self, cycle: int, **values: int) -> None:
        for name, value in values.items():
            self.inputs.setdefault(name, {})[cycle] = int(value)

    def add(self, cycle: int, row: int, value: int, *, first: bool) -> None:
        """Add a column's sum to a row's partial sum."""
        self.drive(cycle, sum=value, first=first)
        self.drive(cycle - 1, read_row=row)
        self.drive(cycle + 1, write_row=row, write=1)

    def finish(self, cycle: int, total: int, out: Output) -> None:
        """Give what the sum of that cycle needs on its way out."""
        names = ("bias", "unbiased", "multiplier", "shift")
        self.drive(cycle + 1, **{name: getattr(out, name) for name in names})
        adds = out.epilogue in (Epilogue.ADD, Epilogue.WEIGH)
        self.drive(cycle + Lane.RESIDUAL_AT, residual=out.residual if adds else 0)
        self.drive(
            cycle + Lane.POST_AT,
            post_multiplier=out.post_multiplier,
            post_shift=out.post_shift,
            weigh=out.epilogue == Epilogue.WEIGH,
        )
        use_post = out.epilogue in (Epilogue.GELU, Epilogue.WEIGH)
        self.drive(cycle + Lane.SELECT_AT, use_post=use_post)
        self.due.append((cycle, total, out))

    def check(self) -> None:
        cycles = self.due[-1][0] + Lane.LATENCY + 1
        columns = {
            name: [values.get(cycle, 0) for cycle in range(cycles)]
            for name, values in self.inputs.items()
        }
        trace = run_cycles(Lane(self.spec), columns, cycles=cycles)
        for cycle, total, out in self.due:
            wanted = finish(self.spec, total, out)
            got = {name: trace[name][cycle + Lane.LATENCY] for name in wanted}
            assert got == wanted, f"sum {total} of cycle {cycle}: {out}"


def of_any_size(rng: np.random.Generator, bits: int) -> int:
    """Draw a signed value whose magnitude may be any power of two, often a limit."""
    low, high = limits(bits)
    if rng.random() < 0.1:
        return int(rng.choice([low, high]))
    return int(rng.integers(low, high, endpoint=True)) >> int(rng.integers(bits))


def output(rng: np.random.Generator, spec: AccelSpec, total: int, epilogue: Epilogue) -> Output:
    """Draw what makes a result of about the range that the destination has."""
    unbiased = int(rng.integers(2))
    bias = of_any_size(rng, min(BIAS_BITS, spec.acc_bits - 1))
    multiplier = int(rng.integers(1 << 15, 1 << 16))
    size = abs(total + (0 if unbiased else bias)).bit_length() + 16
    target = spec.data_bits if epilogue == Epilogue.NARROW else spec.wide_bits
    post = output_bits(spec.wide_bits) + 16 - spec.data_bits
    return Output(
        epilogue=epilogue,
        bias=bias,
        unbiased=unbiased,
        multiplier=multiplier,
        shift=int(np.clip(size - target + rng.integers(-2, 6), 0, 63)),
        post_multiplier=int(rng.integers(1 << 15, 1 << 16)),
        post_shift=int(post + rng.integers(-6, 2)),
        residual=of_any_size(rng, spec.wide_bits),
    )


@ANY_SPEC
def test_latencies_are_those_of_the_pipeline(spec: AccelSpec) -> None:
    assert Requant.LATENCY == pipeline.REQUANT
    assert {gelu.LATENCY for gelu in GELUS.values()} == {pipeline.GELU}
    assert set(GELUS) == set(GELU_FORMS)
    assert Lane.RESIDUAL_AT == pipeline.RESIDUAL_AT
    assert Lane.POST_AT == pipeline.POST_AT
    assert Lane.SELECT_AT == pipeline.SELECT_AT
    assert Lane.LATENCY == pipeline.LANE
    latency = pipeline.gather_latency(spec) + pipeline.sum_latency(spec) + Lane.LATENCY
    assert pipeline.result_latency(spec) == latency


@pytest.mark.parametrize("k_tiles", [1, 2, 4])
@pytest.mark.parametrize("rows", [ROWS, 8], ids=lambda rows: f"rows{rows}")
@ANY_SPEC
def test_sums_over_tiles_with_every_epilogue(spec: AccelSpec, rows: int, k_tiles: int) -> None:
    """Beat after beat, each with an epilogue and parameters of its own."""
    rng = np.random.default_rng([rows, k_tiles])
    bench, cycle = Bench(spec), 1
    for _ in range(2 + 24 // rows):
        totals = [0] * rows
        for k in range(k_tiles):
            for row in range(rows):
                value = of_any_size(rng, sum_bits(spec))
                totals[row] += value
                bench.add(cycle, row, value, first=k == 0)
                if k == k_tiles - 1:
                    epilogue = Epilogue(int(rng.integers(5 if spec.experts else 4)))
                    bench.finish(cycle, totals[row], output(rng, spec, totals[row], epilogue))
                cycle += 1
    bench.check()


@ANY_SPEC
def test_cycles_without_a_beat_change_nothing(spec: AccelSpec) -> None:
    """Sums that belong to no beat are not written, whatever row they seem to belong to."""
    rng = np.random.default_rng(11)
    bench, cycle = Bench(spec), 1
    totals = [0] * 8
    for k in range(3):
        for row in rng.permutation(8).tolist():
            while rng.random() < 0.5:
                junk = of_any_size(rng, sum_bits(spec))
                bench.drive(cycle, sum=junk, first=int(rng.integers(2)))
                bench.drive(cycle + 1, write_row=int(rng.integers(8)))
                cycle += 1
            value = of_any_size(rng, sum_bits(spec))
            totals[row] += value
            bench.add(cycle, row, value, first=k == 0)
            if k == 2:
                bench.finish(cycle, totals[row], output(rng, spec, totals[row], Epilogue.WIDE))
            cycle += 1
        cycle += ROWS  # the permutation may begin with the row that came last
    bench.check()


@ANY_SPEC
def test_corners(spec: AccelSpec) -> None:
    """Sums, results and residuals at their limits, ties of both kinds, and large shifts."""
    low, high = limits(spec.wide_bits)
    narrow_low, narrow_high = limits(spec.data_bits)
    plain = {"bias": 0, "unbiased": 0, "multiplier": 1 << 15, "post_multiplier": 1 << 15}
    bench, cycle = Bench(spec), 1
    values = [low - 1, low, low + 1, narrow_low - 1, narrow_low, narrow_high, narrow_high + 1]
    values += [high - 1, high, high + 1, -1, 0, 1]
    for epilogue in list(Epilogue)[: 5 if spec.experts else 4]:
        for value in values:
            for residual in (low, high, -value if low <= -value <= high else 0):
                out = Output(epilogue=epilogue, shift=15, post_shift=25, residual=residual, **plain)
                bench.add(cycle, 0, value, first=True)
                bench.finish(cycle, value, out)
                cycle += 1
    for value in (*range(-7, 8), *limits(sum_bits(spec))):
        for shift in (0, 16, 17, 63):
            out = Output(epilogue=Epilogue.WIDE, shift=shift, post_shift=63, residual=0, **plain)
            bench.add(cycle, 0, value, first=True)
            bench.finish(cycle, value, out)
            cycle += 1
    bench.check()


def test_bias_reaches_both_ends_of_the_accumulator() -> None:
    """A sum that fits only with its bias is exact."""
    spec = SPECS[0]
    low, high = limits(spec.acc_bits)
    bench, cycle = Bench(spec), 1
    for total, bias in ((131072, high - 131072), (-131072, low + 131072), (5, -5), (-5, high)):
        out = Output(
            epilogue=Epilogue.WIDE,
            bias=bias,
            unbiased=0,
            multiplier=1 << 15,
            shift=15 + 16,
            post_multiplier=0,
            post_shift=0,
            residual=0,
        )
        bench.add(cycle, 0, total, first=True)
        bench.finish(cycle, total, out)
        cycle += 1
    bench.check()
