"""hw.distribute: every operand that a row may pick is on the bus, for each source and format."""

import numpy as np
import pytest

from moesaic.hw.column import operand_bits
from moesaic.hw.distribute import Distribute
from moesaic.hw.element import operand_count
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.pipeline import RAM_READ, operand_latency
from moesaic.sim.cycle_bench import run_cycles

BEATS = 60


def make_spec(rows: int, columns: int, tokens: int, bits: int, *modes: str) -> AccelSpec:
    return AccelSpec(
        rows=rows,
        columns=columns,
        tokens_per_beat=tokens,
        data_bits=bits,
        lanes=4,
        bus_bytes=4,
        sparsity=tuple(NM.parse(mode) for mode in modes),
        index_lines=8 if modes else 0,
    )


SPECS = [
    make_spec(4, 4, 1, 8),  # a word is one slice
    make_spec(4, 32, 2, 8),  # eight slices, because results are long
    make_spec(8, 4, 1, 16, "2:4"),
    make_spec(8, 4, 2, 8, "2:8", "4:8"),
    make_spec(4, 32, 2, 8, "1:4", "2:16"),
]


def name(spec: AccelSpec) -> str:
    modes = "-".join(str(mode).replace(":", "of") for mode in spec.sparsity) or "dense"
    return f"{spec.rows}x{spec.columns}-p{spec.tokens_per_beat}-int{spec.data_bits}-{modes}"


def unpacked(operand: int, spec: AccelSpec) -> list[int]:
    """Return the values of an operand; a negative first one has borrowed from the second."""
    bits, limit = spec.data_bits, 1 << spec.data_bits
    low, high = operand % limit, operand >> bits
    return [low, (high + (low >> bits - 1)) % limit][: spec.tokens_per_beat]


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_every_choice_of_every_row(spec: AccelSpec) -> None:
    """Source, slice and format change with each beat."""
    rng = np.random.default_rng(spec.rows + spec.columns)
    modes = (None, *spec.sparsity)
    bits, tokens, cycles = spec.data_bits, spec.tokens_per_beat, BEATS + operand_latency(spec)
    words = rng.integers(0, 1 << bits, (3, BEATS, tokens, spec.act_word))
    source = rng.integers(0, 3, BEATS)
    mode = rng.integers(0, len(modes), BEATS)
    offset = np.zeros(BEATS, dtype=np.int64)
    for beat in range(BEATS):
        step = spec.operands_per_beat(modes[mode[beat]])
        slices = spec.act_word // step
        offset[beat] = rng.integers(slices) * step // spec.rows

    def packed(values: np.ndarray) -> int:
        return sum(int(v) << i * bits for i, v in enumerate(values.ravel()))

    late = [0] * RAM_READ
    inputs = {
        "source": source.tolist(),
        "mode": mode.tolist(),
        "offset": offset.tolist(),
        **{f"words{i}": [*late, *(packed(word) for word in words[i])] for i in range(3)},
    }
    got = run_cycles(Distribute(spec), inputs, cycles=cycles)["operands"]

    for beat in range(BEATS):
        nm = modes[mode[beat]]
        first = offset[beat] * spec.rows
        x = words[source[beat], beat, :, first : first + spec.operands_per_beat(nm)]
        raw = got[beat + operand_latency(spec)]
        width = operand_bits(spec)
        operands = [raw >> i * width & ((1 << width) - 1) for i in range(operand_count(spec))]
        bus = np.array([unpacked(operand, spec) for operand in operands])
        for row in range(spec.rows):
            slot = row // spec.group_rows * spec.group_slots
            if nm is None:
                picked, wanted = bus[slot + row % spec.group_rows], x[:, row]
            else:
                group = row // nm.n * nm.m
                picked, wanted = bus[slot : slot + nm.m].T, x[:, group : group + nm.m]
            np.testing.assert_array_equal(picked, wanted, f"beat {beat}, {nm}, row {row}")
