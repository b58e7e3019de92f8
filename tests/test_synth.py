"""reports.synth: cells to resources, modules to totals, and two products for each DSP block."""

from typing import Any

import pytest

from moesaic.hw.column import Column
from moesaic.hw.emit import to_verilog
from moesaic.hw.gelu import Gelu
from moesaic.hw.gelu_polynomial import GeluPolynomial
from moesaic.hw.requant import Requant
from moesaic.models.accel import NM, AccelSpec, BoardSpec
from moesaic.models.errors import InputError
from moesaic.reports import synth
from moesaic.reports.synth_cells import CELLS, RESOURCES, amounts
from moesaic.reports.synth_modules import Module, batches, distinct_modules, placements
from moesaic.reports.synth_yosys import SynthesisError, synthesise_modules

XCZU9 = BoardSpec(part="xczu9eg-ffvb1156-2-e", dsp=100, bram36=4, lut=1000)
HIERARCHY = """module leaf_a(x, y);
  input x;
  assign y = ~x;
endmodule
module leaf_b(x, y);
  input x;
  assign y = ~x;
endmodule
module pair_a(x);
  leaf_a one (
    .x(x)
  );
  leaf_b two (
    .x(x)
  );
endmodule
module pair_b(x);
  leaf_b one (
    .x(x)
  );
  leaf_a two (
    .x(x)
  );
endmodule
module top(x);
  reg [3:0] memory [7:0];
  initial for (int i = 0; i <= 7; i = i + 1) memory[i] = '0;
  pair_a first (
    .x(x)
  );
  pair_b second (
    .x(x)
  );
  leaf_b third (
    .x(x)
  );
endmodule
"""


def column_spec(rows: int, tokens: int, *modes: NM) -> AccelSpec:
    return AccelSpec(
        rows=rows,
        columns=4,
        lanes=4,
        tokens_per_beat=tokens,
        bus_bytes=4,
        sparsity=modes,
        index_lines=8 if modes else 0,
    )


@pytest.fixture(scope="module")
def synthesised() -> dict[str, dict[str, float]]:
    """Synthesise three columns of eight rows and what lanes are made of in one run of Yosys."""
    designs = {
        "two_tokens": Column(column_spec(8, 2)),
        "one_token": Column(column_spec(8, 1)),
        "moesaic_column": Column(column_spec(8, 2, NM(n=2, m=8))),
        "requant": Requant(acc_bits=32, out_bits=16),
        "gelu_table": Gelu(wide_bits=16),
        "gelu_polynomial": GeluPolynomial(wide_bits=16),
    }
    text = "\n".join(to_verilog(design, name=name) for name, design in designs.items())
    modules = distinct_modules(text)
    cells, seconds = synthesise_modules(list(modules.values()), modules, "xcup")
    assert seconds > 0
    return {name: amounts(by_type, "xcup") for name, by_type in cells.items()}


def test_cells_have_resources_of_their_target() -> None:
    for target, table in CELLS.items():
        lut = next(name for name in RESOURCES[target] if name.startswith("lut"))
        for cell, used in table.items():
            assert set(used) <= set(RESOURCES[target]), cell
            assert used.get("lutram", 0) <= used.get(lut, 0), cell


def test_amounts() -> None:
    cells = {"RAM64M8": 3, "LUT6": 5, "RAMB18E2": 3, "RAMB36E2": 1, "DSP48E2": 2, "FDRE": 7}
    used = amounts(cells, "xcup")
    assert used == {
        "dsp": 2,
        "bram36": 2.5,
        "uram": 0,
        "lut": 29,
        "lutram": 24,
        "muxf": 0,
        "carry": 0,
        "ff": 7,
    }
    assert amounts({"CCU2C": 4, "LUT4": 1, "MULT18X18D": 2}, "ecp5")["lut4"] == 9


def test_unknown_cells_are_refused() -> None:
    with pytest.raises(ValueError, match=r"xcup: no such cell type in the table: \$mul, DSP48E9"):
        amounts({"LUT2": 1, "DSP48E9": 1, "$mul": 1}, "xcup")


def test_equal_modules_count_as_one() -> None:
    modules = distinct_modules(HIERARCHY)
    assert list(modules) == ["leaf_a", "pair_a", "top"]
    assert modules["pair_a"].children == {"leaf_a": 2}
    assert modules["top"].children == {"pair_a": 2, "leaf_a": 1}
    assert "initial" not in modules["top"].text
    assert placements(modules, "top") == {"top": 1, "pair_a": 2, "leaf_a": 5}


def test_a_change_below_changes_the_key() -> None:
    one, other = (
        distinct_modules(text) for text in (HIERARCHY, HIERARCHY.replace("y = ~x", "y = x"))
    )
    assert one["leaf_a"].key != other["leaf_a"].key
    assert one["top"].text == other["top"].text
    assert one["top"].key != other["top"].key


def test_batches_keep_the_order() -> None:
    modules = [
        Module(name=str(i), text="x" * n, children={}, key="") for i, n in enumerate((9, 1, 5))
    ]
    assert [[m.name for m in batch] for batch in batches(modules, 6)] == [["0"], ["1", "2"]]


def test_two_products_share_a_dsp(synthesised: dict[str, dict[str, float]]) -> None:
    """Two tokens and eight weights are sixteen products, one token eight."""
    assert synthesised["two_tokens"]["dsp"] == 8
    assert synthesised["one_token"]["dsp"] == 8


def test_index_multiplexers_take_two_luts_and_a_muxf(
    synthesised: dict[str, dict[str, float]],
) -> None:
    column = synthesised["moesaic_column"]
    assert column["dsp"] == 8
    assert column["muxf"] == 8 * 17  # rows times bits of a packed operand


def test_submodules_are_counted_apart(synthesised: dict[str, dict[str, float]]) -> None:
    assert synthesised["requant"]["dsp"] == 2  # 32 bits by 16
    assert synthesised["requant_round_shift"]["dsp"] == 0
    assert synthesised["requant_round_shift"]["lut"] > 100 > synthesised["requant"]["lut"]


def test_polynomial_gelu_takes_more_dsps_and_fewer_luts(
    synthesised: dict[str, dict[str, float]],
) -> None:
    table, polynomial = (synthesised[f"gelu_{form}"] for form in ("table", "polynomial"))
    assert (table["dsp"], polynomial["dsp"]) == (1, 3)
    assert table["lut"] > polynomial["lut"] > 0
    assert table["bram36"] == polynomial["bram36"] == 0


def test_ecp5_column_takes_a_multiplier_for_each_row() -> None:
    modules = distinct_modules(to_verilog(Column(column_spec(4, 1)), name="column"))
    cells, _ = synthesise_modules(list(modules.values()), modules, "ecp5")
    used = amounts(cells["column"], "ecp5")
    assert used["mult18"] == 4
    assert used["lut4"] > 0


def test_yosys_errors_are_passed_on() -> None:
    broken = Module(name="broken", text="module broken(;endmodule", children={}, key="broken")
    with pytest.raises(SynthesisError, match="Yosys failed"):
        synthesise_modules([broken], {"broken": broken}, "xcup")


def test_totals_are_sums(monkeypatch: pytest.MonkeyPatch) -> None:
    def fake(batch: list[Module], modules: object, target: str) -> tuple[dict[str, Any], float]:
        return {m.name: {"LUT6": 100, "DSP48E2": 30, "RAMB18E2": 1} for m in batch}, 1.0

    monkeypatch.setattr(synth, "synthesise_modules", fake)
    monkeypatch.setattr(synth, "cached_verilog", lambda _: HIERARCHY)
    monkeypatch.setattr(synth, "TOP", "top")
    spec = AccelSpec(rows=4, columns=4, lanes=4, bus_bytes=4, board=XCZU9)
    seen: list[tuple[int, int, str]] = []
    result = synth.synthesise(spec, "xcup", progress=lambda *step: seen.append(step))
    assert [(row["name"], row["count"]) for row in result["modules"]] == [
        ("leaf_a", 5),
        ("pair_a", 2),
        ("top", 1),
    ]
    for name, total in result["totals"].items():
        assert total == sum(row["count"] * row[name] for row in result["modules"])
    assert result["totals"]["bram36"] == 4
    assert result["limits"] == {"dsp": 100, "bram36": 4, "lut": 1000}
    assert result["fits"] == {"dsp": False, "bram36": True, "lut": True}
    assert seen == [(0, 3, "leaf_a"), (3, 3, "")]
    assert synth.part_limits(spec, "ecp5") == {}


def test_refusals() -> None:
    spec = AccelSpec(rows=4, columns=4, lanes=4, bus_bytes=4)
    with pytest.raises(InputError, match="target must be one of xcup, ecp5, not 'asic'"):
        synth.synthesise(spec, "asic")
    with pytest.raises(InputError, match="--pnr: place and route is not part of this version"):
        synth.synthesise(spec, "ecp5", pnr=True)
