"""hw.weight_path: each line reaches its column, row or parameters in its cycle."""

import numpy as np
import pytest

from moesaic.hw.element import index_bits
from moesaic.hw.stationary import LINE
from moesaic.hw.weight_path import PARAM_BITS, WeightPath
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.pipeline import RAM_READ, load_latency, param_latency
from moesaic.sim.cycle_bench import pack, run_cycles

LINES = 150


def make_spec(
    rows: int, columns: int, lanes: int, tokens: int, bits: int, bus: int, *modes: str
) -> AccelSpec:
    return AccelSpec(
        rows=rows,
        columns=columns,
        lanes=lanes,
        tokens_per_beat=tokens,
        data_bits=bits,
        bus_bytes=bus,
        sparsity=tuple(NM.parse(mode) for mode in modes),
        index_lines=8 if modes else 0,
    )


SPECS = [
    make_spec(4, 4, 4, 1, 8, 4),
    make_spec(4, 16, 8, 2, 8, 4),
    make_spec(16, 4, 8, 1, 16, 32),
    make_spec(16, 4, 8, 2, 8, 16, "2:4", "4:8"),
    make_spec(8, 8, 32, 1, 16, 8, "1:16"),
]


def name(spec: AccelSpec) -> str:
    modes = "-".join(str(mode).replace(":", "of") for mode in spec.sparsity) or "dense"
    size = f"{spec.rows}x{spec.columns}-lanes{spec.lanes}-p{spec.tokens_per_beat}"
    return f"{size}-int{spec.data_bits}-bus{spec.bus_bytes}-{modes}"


@pytest.mark.parametrize("spec", SPECS, ids=name)
def test_lines_of_all_kinds(spec: AccelSpec) -> None:
    rng = np.random.default_rng(spec.rows)
    bits, rows, columns = spec.data_bits, spec.rows, spec.columns
    params_in_word = max(8, spec.bus_bytes) // 8
    lines, weight, index, param, kv = [], [], [], [], []
    for _ in range(LINES):
        row_mode = int(rng.integers(2))
        source_kv = row_mode or int(rng.integers(2))
        slices = spec.kv_word // (columns if row_mode else rows)
        lines.append(
            {
                "valid": int(rng.random() < 0.8),
                "source_kv": source_kv,
                "row_mode": row_mode,
                "dense": int(rng.integers(2)),
                "place": int(rng.integers(rows if row_mode else columns)),
                "index_half": int(rng.integers(2)),
                "kv_bank": int(rng.integers(spec.tokens_per_beat)),
                "kv_slice": int(rng.integers(slices)),
                "zero": row_mode and int(rng.random() < 0.2),
                "params": int(not row_mode and rng.random() < 0.5),
                "param_sub": int(rng.integers(256)),
            }
        )
        weight.append(rng.integers(0, 1 << bits, rows))
        index.append(rng.integers(0, 16, (2, rows)))
        param.append([int.from_bytes(rng.bytes(8), "little") for _ in range(params_in_word)])
        kv.append(rng.integers(0, 1 << bits, (spec.tokens_per_beat, spec.kv_word)))

    def packed(values: np.ndarray, width: int) -> int:
        return sum(int(v) << i * width for i, v in enumerate(np.ravel(values)))

    def by_cycle(words: list[int]) -> list[int]:
        return [*([0] * RAM_READ), *words]  # as the scratchpads give them

    inputs = {
        "line": [pack(LINE, line) for line in lines],
        "weight_data": by_cycle([packed(w, bits) for w in weight]),
        "param_data": by_cycle([sum(p << 64 * i for i, p in enumerate(ps)) for ps in param]),
        "kv_data": by_cycle([packed(k, bits) for k in kv]),
    }
    if spec.sparsity:
        inputs["index_data"] = by_cycle([packed(i, 4) for i in index])
    cycles = LINES + param_latency(spec) + 1
    trace = run_cycles(WeightPath(spec), inputs, cycles=cycles)

    group = np.arange(rows) % spec.group_rows
    width = index_bits(spec)
    for i, line in enumerate(lines):
        at = i + load_latency(spec)
        place, valid, row_mode = line["place"], line["valid"], line["row_mode"]
        what = f"line {i}: {line}"
        assert trace["load"][at] == (valid and not row_mode) << place, what
        assert trace["row_load"][at] == (valid and row_mode) << place, what
        token = kv[i][line["kv_bank"]]
        if row_mode:
            first = line["kv_slice"] * columns
            values = token[first : first + columns] * (not line["zero"])
            assert trace["row_values"][at] == packed(values, bits), what
        else:
            first = line["kv_slice"] * rows
            column = token[first : first + rows] if line["source_kv"] else weight[i]
            assert trace["weights"][at] == packed(column, bits), what
        if width:
            places = index[i][line["index_half"]] % (1 << width)
            wanted = group if line["dense"] or row_mode else places
            assert trace["indices"][at] == packed(wanted, width), what
        at = i + param_latency(spec)
        assert trace["param_load"][at] == line["params"] << place, what
        if line["params"]:
            word = param[i][line["param_sub"] % params_in_word]
            assert trace["params"][at] == word & ((1 << PARAM_BITS) - 1), what
