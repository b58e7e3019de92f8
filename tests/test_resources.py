"""models.resources: what synthesis counts, from an accelerator's parameters alone."""

import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from moesaic.hw.emit import to_verilog
from moesaic.hw.scratchpad import Scratchpad
from moesaic.models.accel import NM, AccelSpec
from moesaic.models.accel_io import load_accel, preset_names
from moesaic.models.errors import InputError
from moesaic.models.numbers import INTEGER
from moesaic.models.resources.memory import memory
from moesaic.models.resources.model import (
    FITTED,
    NAMES,
    coefficients,
    fitted_targets,
    kinds_of,
    predict,
    stated_errors,
    target_of,
)
from moesaic.models.resources.terms import adder_tree
from moesaic.reports import resource_fit
from moesaic.reports.resource_data import RESOURCES, Machine, read, split
from moesaic.reports.resource_designs import SMALL, fitted, held_back, machines_at_random
from moesaic.reports.resource_fit import fit, relative_errors, samples, stated
from moesaic.reports.resource_measure import Meter, kind_of
from moesaic.reports.synth_cells import amounts
from moesaic.reports.synth_modules import distinct_modules
from moesaic.reports.synth_yosys import synthesise_modules

MACHINES = {target: split(read(target)) for target in fitted_targets()}
CASES = [
    pytest.param(target, one, id=f"{target}-{one.spec.name}")
    for target, groups in MACHINES.items()
    for group in groups
    for one in group
]
MEMORIES = {  # bits, words: blocks of 36 kbit, LUTs that store, banks; counted by Yosys
    "xcup": {
        (32, 8): (0, 24, 1),
        (64, 32): (0, 40, 1),
        (128, 64): (0, 152, 1),
        (23, 128): (0, 64, 2),
        (26, 128): (0.5, 0, 1),
        (36, 128): (0.5, 0, 1),
        (48, 128): (0, 112, 2),
        (64, 128): (1, 0, 1),
        (32, 16384): (16, 0, 1),
        (128, 2048): (7.5, 0, 1),
        (128, 4096): (15, 0, 1),
        (128, 16384): (60, 0, 4),
    },
    "ecp5": {
        (22, 16): (0, 36, 1),
        (32, 32): (0, 96, 2),
        (22, 64): (0, 144, 4),
        (32, 64): (0.5, 0, 1),
        (48, 64): (0, 288, 4),
        (64, 64): (1, 0, 1),
        (48, 1024): (1.5, 0, 1),
        (22, 2048): (1.5, 0, 1),
    },
}


@pytest.mark.parametrize(
    ("target", "shape", "expected"),
    [
        pytest.param(target, shape, expected, id=f"{target}-{shape[0]}x{shape[1]}")
        for target, table in MEMORIES.items()
        for shape, expected in table.items()
    ],
)
def test_memory_is_mapped_as_yosys_does(
    target: str, shape: tuple[int, int], expected: tuple[float, int, int]
) -> None:
    found = memory(target, *shape)
    assert (found.blocks, found.luts, found.banks) == expected


def test_memories_equal_synthesis() -> None:
    """Memories at the borders between LUTs and blocks, through Yosys now."""
    shapes = [(25, 128), (26, 128), (50, 128), (51, 128), (72, 64), (9, 4096), (40, 2048)]
    text = "\n".join(
        to_verilog(Scratchpad(depth=depth, width=width, granule=width), name=f"m{width}_{depth}")
        for width, depth in shapes
    )
    modules = distinct_modules(text)
    cells, _ = synthesise_modules(list(modules.values()), modules, "xcup")
    for width, depth in shapes:
        used = amounts(cells[f"m{width}_{depth}"], "xcup")
        model = memory("xcup", width, depth)
        assert (used["bram36"], used["lutram"]) == (model.blocks, model.luts), (width, depth)


@pytest.mark.parametrize(("target", "one"), CASES)
def test_measured_machines(target: str, one: Machine) -> None:
    """Multipliers and memories are exact; LUTs and registers within the tenth that is promised."""
    model, real = predict(one.spec, target), one.totals
    assert (model["dsp"], model["bram36"]) == (real["dsp"], real["bram36"])
    for name in ("lut", "ff"):
        bound = 0.10 if one.held_back else 0.05
        assert abs(model[name] / real[name] - 1) <= bound, name


def test_what_is_measured_is_the_design() -> None:
    """The machines of the design, and enough that were never fitted."""
    for target, (learnt, held) in MACHINES.items():
        plain = {"memory", "board", "clock_hz"}
        for group, specs in ((learnt, fitted()), (held, held_back(target))):
            names = [one.spec.name for one in group]
            for spec in specs:
                if spec.name in names:
                    mine = group[names.index(spec.name)].spec
                    for name in set(AccelSpec.__slots__) - plain:
                        assert getattr(mine, name) == getattr(spec, name), (spec.name, name)
        assert len([one for one in held if one.spec.name.startswith("held")]) >= 6
        assert not {one.spec for one in learnt} & {one.spec for one in held}


@pytest.mark.parametrize("target", fitted_targets())
def test_fit_follows_from_the_measurements(target: str) -> None:
    learnt, held = MACHINES[target]
    found = fit(learnt, target)
    assert found == coefficients(target)
    assert stated(relative_errors(held, target, found)) == stated_errors(target)
    assert all(x > 0 for by_key in found.values() for c in by_key.values() for x in c.values())


@pytest.mark.parametrize("target", fitted_targets())
def test_every_kind_of_module_was_measured(target: str) -> None:
    """Nothing counts as nothing because no machine with it was measured."""
    known = set(samples(MACHINES[target][0], target))
    assert sum(spec.data_bits == 16 for spec in machines_at_random(seed=9, count=40)) > 5
    for spec in machines_at_random(seed=9, count=40):
        assert {part.key for part in kinds_of(spec, target).values()} <= known


@pytest.mark.parametrize("target", fitted_targets())
def test_stated_errors_keep_the_promise(target: str) -> None:
    errors = stated_errors(target)
    assert set(errors) == set(RESOURCES) == set(NAMES[target])
    assert errors["dsp"]["max"] == errors["bram36"]["max"] == 0
    assert 0 < errors["lut"]["max"] < 0.10
    assert 0 < errors["ff"]["max"] < 0.10


def test_command_writes_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource_fit, "FITTED", tmp_path / "fitted.yaml")
    assert resource_fit.main([]) == 0
    assert (tmp_path / "fitted.yaml").read_text() == FITTED.read_text()


def test_command_prints_the_tables_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource_fit, "FITTED", tmp_path / "fitted.yaml")
    assert resource_fit.main([]) == 0
    page = (Path(__file__).parents[1] / "docs/resources.md").read_text()
    assert capsys.readouterr().out.strip() in page


def test_fit_refuses_unknown_modules() -> None:
    one = MACHINES["xcup"][0][0]
    kinds = dict(one.kinds)
    kinds["surprise"] = kinds.pop("column")
    with pytest.raises(ValueError, match=r"small-0: modules differ: .*column"):
        samples([replace(one, kinds=kinds)], "xcup")


@pytest.mark.nightly
def test_tiny_equals_synthesis() -> None:
    """Measured now, not read: about two minutes of Yosys in a fresh clone."""
    spec = load_accel("tiny")
    measured = Meter(target="xcup").measure(spec)
    assert {kind: places for kind, (places, _) in measured.items()} == {
        kind: part.places for kind, part in kinds_of(spec, "xcup").items()
    }
    real = {
        name: sum(places * used[name] for places, used in measured.values()) for name in RESOURCES
    }
    model = predict(spec)
    assert (model["dsp"], model["bram36"]) == (real["dsp"], real["bram36"])
    assert abs(model["lut"] / real["lut"] - 1) < 0.05
    assert abs(model["ff"] / real["ff"] - 1) < 0.05


GROWING: dict[str, tuple[Any, ...]] = {
    "rows": (8, 16, 32, 64),
    "columns": (8, 16, 32, 64),
    "lanes": (8, 16, 32, 64),
    "tokens_per_beat": (1, 2),
    "data_bits": (8, 16),
    "sparsity": ((), (NM(n=2, m=4),), (NM(n=2, m=8),), (NM(n=2, m=4), NM(n=2, m=8))),
    "arrays": ("unified", "separate"),
    "experts": (0, 8, 32),
}


@pytest.mark.parametrize("name", GROWING)
def test_more_machine_takes_more(name: str) -> None:
    spec = replace(SMALL, weight_lines=256, index_lines=64, act_words=1024)
    found = [predict(replace(spec, **{name: value})) for value in GROWING[name]]
    for less, more in pairwise(found):
        assert less["dsp"] <= more["dsp"]
        assert less["bram36"] <= more["bram36"]
        assert less["lut"] < more["lut"]
        assert less["ff"] < more["ff"]


@pytest.mark.parametrize("name", ["act_words", "kv_words", "score_words", "weight_lines"])
def test_deeper_scratchpads_take_more_blocks(name: str) -> None:
    depths: list[dict[str, Any]] = [{name: 1 << n} for n in range(8, 15)]
    found = [predict(replace(SMALL, **depth))["bram36"] for depth in depths]
    assert found == sorted(found)
    assert found[-1] > found[0]


def test_separate_arrays_have_sums_of_their_own() -> None:
    """Partial sums of 32 bits and 256 rows take half a block a lane, in each of three arrays."""
    one = replace(SMALL, psum_depth=256)
    three = replace(one, arrays="separate")
    assert predict(three)["bram36"] - predict(one)["bram36"] == 2 * one.columns * 0.5
    assert predict(three)["dsp"] - predict(one)["dsp"] == 2 * one.columns * (one.rows + 4)


def test_presets_of_the_docs() -> None:
    """Block memories and multipliers that `moesaic synth` counted for large machines."""
    known = {
        "zcu102": (2453, 624.5),
        "zcu102-batch": (2453, 789.5),
        "zcu102-int16": (2327, 643.5),
    }
    for name, (dsp, blocks) in known.items():
        found = predict(load_accel(name))
        assert (found["dsp"], found["bram36"]) == (dsp, blocks), name
    without = predict(replace(load_accel("zcu102"), experts=0))
    assert (without["dsp"], without["bram36"]) == (2447, 621.5)


def test_boards_say_the_target() -> None:
    assert {name: target_of(load_accel(name)) for name in preset_names()} == {
        name: "ecp5" if name == "ecp5-85k" else "xcup" for name in preset_names()
    }


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"must be one of xcup, ecp5 for .* model, not 'asic'"):
        predict(SMALL, "asic")
    with pytest.raises(InputError, match=f"numbers must be {INTEGER} for the resource model"):
        predict(load_accel("tiny-train"))


def test_a_sweep_can_ask_thousands_of_times() -> None:
    spec = load_accel("zcu102")
    predict(spec)
    spent = []
    for _ in range(5):
        began = time.process_time()
        for bus in (16, 32, 64) * 4:
            predict(replace(spec, bus_bytes=bus))
        spent.append((time.process_time() - began) / 12)
    assert min(spent) < 1e-3


def test_adder_tree() -> None:
    """Eight terms of 16 bits: 4 adders of 17 bits, 2 of 18, a register each; 1 of 19."""
    assert adder_tree(8, 16) == (2 * 18 + 19, 4 * 17 + 2 * 18 + 19)
    assert adder_tree(4, 16, grow=False) == (16, 3 * 16)
    assert adder_tree(1, 16) == (0, 0)


def test_kinds_are_called_by_their_place() -> None:
    names = {
        "moesaic_vector_write_340_walk": "vector_write_walk",
        "moesaic_memories_residual0": "memories_residual",
        "moesaic_queues_bank_1": "queues_bank",
        "moesaic_vector_lane_exp2": "vector_lane_exptwo",
        "moesaic_array": "array",
    }
    assert {name: kind_of(name, separate=False) for name in names} == names
    assert kind_of("moesaic_array", separate=True) == "separate"
    assert kind_of("moesaic_one_array_weights_7", separate=True) == "array_weights"
