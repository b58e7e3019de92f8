"""hw.column against models.matmul: every weight format, swaps beside loads, extreme values."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from moesaic.hw.column import Column, operand_bits, sum_bits
from moesaic.hw.element import index_bits, operand_count
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.matmul import matmul, matmul_sparse
from moesaic.models.pipeline import column_latency
from moesaic.models.requant import BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS, Ints, limits
from moesaic.models.sparse import compress, prune
from moesaic.sim.cycle_bench import Trace, run_cycles

BEATS = 7
PARAMS = 3


def make_spec(rows: int, tokens: int, bits: int, *modes: str) -> AccelSpec:
    return AccelSpec(
        rows=rows,
        columns=4,
        tokens_per_beat=tokens,
        data_bits=bits,
        lanes=4,
        bus_bytes=4,
        sparsity=tuple(NM.parse(mode) for mode in modes),
        index_lines=8 if modes else 0,
    )


SPECS = [
    make_spec(4, 1, 8),
    make_spec(8, 2, 8),
    make_spec(32, 1, 16),
    make_spec(8, 1, 8, "2:4", "1:4"),
    make_spec(8, 2, 8, "2:8", "4:8"),
    make_spec(16, 2, 8, "1:16", "2:4", "4:8"),
    make_spec(8, 1, 16, "4:16", "2:4"),
]


def name(spec: AccelSpec) -> str:
    modes = "-".join(str(mode).replace(":", "of") for mode in spec.sparsity) or "dense"
    return f"rows{spec.rows}-p{spec.tokens_per_beat}-int{spec.data_bits}-{modes}"


ANY_SPEC = pytest.mark.parametrize("spec", SPECS, ids=name)


def bits_of(values: Ints, width: int) -> int:
    """Pack signed or unsigned values side by side, the first one lowest."""
    mask = (1 << width) - 1
    return sum((int(v) & mask) << i * width for i, v in enumerate(values))


def packed(bus: Ints, bits: int) -> Ints:
    """Put the values of each operand side by side; the second one lends to a negative first one."""
    if bus.shape[1] == 1:
        return bus[:, 0]
    low, high = bus.T
    return (low & ((1 << bits) - 1)) + ((high - (low < 0)) << bits)


@dataclass(slots=True)
class Bench:
    """A column's inputs by cycle, and when which sums are due."""

    spec: AccelSpec
    rng: np.random.Generator
    inputs: dict[str, dict[int, int]] = field(default_factory=dict)
    due: dict[int, Ints] = field(default_factory=dict)

    def drive(self, cycle: int, **values: int) -> None:
        for name, value in values.items():
            self.inputs.setdefault(name, {})[cycle] = value

    def beat(self, cycle: int, x: Ints, nm: NM | None, sums: Ints) -> None:
        """Put operands (tokens, operands of a beat) on the bus; what no row picks is noise."""
        spec = self.spec
        low, high = limits(spec.data_bits)
        bus = self.rng.integers(
            low, high, (operand_count(spec), spec.tokens_per_beat), endpoint=True
        )
        for row in range(spec.rows):
            slot = row // spec.group_rows * spec.group_slots
            if nm is None:
                bus[slot + row % spec.group_rows] = x[:, row]
            else:
                group = row // nm.n * nm.m
                bus[slot : slot + nm.m] = x[:, group : group + nm.m].T
        self.drive(cycle, operands=bits_of(packed(bus, spec.data_bits), operand_bits(spec)))
        self.due[cycle + column_latency(spec)] = sums

    def run(self) -> Trace:
        cycles = max(self.due) + 1
        columns = {
            name: [values.get(cycle, 0) for cycle in range(cycles)]
            for name, values in self.inputs.items()
        }
        return run_cycles(Column(self.spec), columns, cycles=cycles)

    def check(self) -> None:
        trace = self.run()
        width = sum_bits(self.spec)
        for cycle, sums in self.due.items():
            assert trace["sums"][cycle] == bits_of(sums, width), f"cycle {cycle}"


def operand(rng: np.random.Generator, spec: AccelSpec, shape: tuple[int, ...]) -> Ints:
    low, high = limits(spec.data_bits)
    return rng.integers(low, high, shape, endpoint=True)


@ANY_SPEC
def test_tiles_of_all_formats(spec: AccelSpec) -> None:
    """Tile after tile without a gap; each tile's weights are loaded while the one before runs.

    The load falls on any of its cycles, also on the first, in which its own weights become active.
    """
    rng = np.random.default_rng(spec.rows)
    bench, swap = Bench(spec, rng), 2
    modes: list[NM | None] = [None, *spec.sparsity] * 3
    load = 0
    for nm in rng.permutation(np.array(modes, dtype=object)).tolist():
        weight = operand(rng, spec, (spec.operands_per_beat(nm), 1))
        x = operand(rng, spec, (BEATS * spec.tokens_per_beat, len(weight)))
        if nm is None:
            values, indices = weight, np.arange(spec.rows) % spec.group_rows
            sums = matmul(x, weight, data_bits=spec.data_bits)
        else:
            weight = weight * prune(weight, nm)
            values, indices = compress(weight, nm)
            sums = matmul_sparse(x, values, indices, nm, data_bits=spec.data_bits)
        bench.drive(
            load,
            load=1,
            weights=bits_of(values.ravel(), spec.data_bits),
            indices=bits_of(indices.ravel(), index_bits(spec)),
        )
        bench.drive(swap, swap=1)
        for beat in range(BEATS):
            tokens = slice(beat * spec.tokens_per_beat, (beat + 1) * spec.tokens_per_beat)
            bench.beat(swap + 1 + beat, x[tokens], nm, sums[tokens, 0])
        load = swap + int(rng.integers(0, BEATS))
        swap += BEATS
    bench.check()


@ANY_SPEC
def test_rows_one_by_one(spec: AccelSpec) -> None:
    """Row mode fills the shadow weights in any order; rows left out keep the last value."""
    rng = np.random.default_rng(spec.rows)
    bench, cycle = Bench(spec, rng), 0
    shadow = np.zeros(spec.rows, dtype=np.int64)
    indices = bits_of(rng.integers(0, spec.group_slots, spec.rows), index_bits(spec))
    dense = bits_of(np.arange(spec.rows) % spec.group_rows, index_bits(spec))
    bench.drive(0, load=1, weights=0, indices=indices)  # indices that row mode must replace
    for keep in (0, 0, spec.rows // 2):
        for row in rng.permutation(spec.rows)[keep:]:
            cycle += 1
            shadow[row] = operand(rng, spec, (1,))[0]
            value = int(shadow[row]) & ((1 << spec.data_bits) - 1)
            bench.drive(cycle, row_load=1 << int(row), row_value=value, indices=dense)
        cycle += 1
        bench.drive(cycle, swap=1)
        x = operand(rng, spec, (spec.tokens_per_beat, spec.rows))
        bench.beat(cycle + 1, x, None, matmul(x, shadow[:, None], data_bits=spec.data_bits)[:, 0])
    bench.check()


@ANY_SPEC
def test_extreme_sums(spec: AccelSpec) -> None:
    """All rows at the limits, also where one token's sum is largest and the other's smallest."""
    low, high = limits(spec.data_bits)
    edges = (low, high, -1, 0, 1)
    bench, cycle = Bench(spec, np.random.default_rng(1)), 0
    for value in edges:
        weight = np.full((spec.rows, 1), value)
        indices = bits_of(np.arange(spec.rows) % spec.group_rows, index_bits(spec))
        bench.drive(cycle, load=1, weights=bits_of(weight.ravel(), spec.data_bits), indices=indices)
        bench.drive(cycle + 1, swap=1)
        cycle += 2
        for first in edges:
            for second in edges:
                x = np.full((spec.tokens_per_beat, spec.rows), second)
                x[0] = first
                sums = matmul(x, weight, data_bits=spec.data_bits)[:, 0]
                bench.beat(cycle, x, None, sums)
                cycle += 1
    bench.check()


def test_parameters_are_double_buffered() -> None:
    spec, rng = SPECS[0], np.random.default_rng(5)
    widths = (BIAS_BITS, MULTIPLIER_BITS, SHIFT_BITS)
    sets = [[int(rng.integers(0, 1 << width)) for width in widths] for _ in range(PARAMS)]
    words = [
        bias | multiplier << BIAS_BITS | shift << BIAS_BITS + MULTIPLIER_BITS
        for bias, multiplier, shift in sets
    ]
    # Set i is loaded in cycle 4 * i and swapped three cycles later; set 2 in the cycle of set 1's
    # swap, which must not let it through.
    loads, swaps = {0: 0, 4: 1, 7: 2}, (3, 7, 9)
    cycles = 12
    trace = run_cycles(
        Column(spec),
        {
            "param_load": [int(cycle in loads) for cycle in range(cycles)],
            "params": [words[loads.get(cycle, 0)] for cycle in range(cycles)],
            "param_swap": [int(cycle in swaps) for cycle in range(cycles)],
        },
        cycles=cycles,
    )
    for cycle in range(cycles):
        active = sum(swap < cycle for swap in swaps) - 1
        bias, multiplier, shift = sets[active] if active >= 0 else (0, 0, 0)
        sign = bias >> (BIAS_BITS - 1) << BIAS_BITS
        got = (trace["bias"][cycle], trace["multiplier"][cycle], trace["shift"][cycle])
        assert got == (bias - sign, multiplier, shift), f"cycle {cycle}"
