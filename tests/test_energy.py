"""models.energy: joules from counts, by a table that users may replace."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from moesaic.models.accel import AccelSpec
from moesaic.models.energy import (
    EnergyTable,
    energy,
    energy_from,
    load_energy,
    scratchpad_bytes,
    table_names,
)
from moesaic.models.errors import InputError

SPEC = AccelSpec(rows=8, columns=4, lanes=4, bus_bytes=8)
COUNTS = {"macs": 3200, "bytes_read": 100, "bytes_written": 10}
TABLE: dict[str, Any] = {
    "source": "made up",
    "picojoules": {
        "mac_8": 1,
        "mac_16": 4,
        "dram_byte": 1000,
        "scratchpad_byte": {4096: 10, 64: 1},
    },
}


def changed(**numbers: Any) -> dict[str, Any]:
    return TABLE | {"picojoules": TABLE["picojoules"] | numbers}


def only(**numbers: Any) -> EnergyTable:
    """A table in which everything else costs nothing."""
    zeros = {"mac_8": 0, "mac_16": 0, "dram_byte": 0, "scratchpad_byte": {1: 0}}
    return energy_from({"source": "one thing", "picojoules": zeros | numbers}, where="t")


def test_each_count_by_itself() -> None:
    assert energy(SPEC, only(mac_8=1), **COUNTS) == pytest.approx(3200e-12, rel=1e-12)
    assert energy(SPEC, only(mac_16=1), **COUNTS) == 0
    assert energy(SPEC, only(dram_byte=2), **COUNTS) == pytest.approx(220e-12, rel=1e-12)
    wide = AccelSpec(rows=8, columns=4, lanes=4, bus_bytes=8, data_bits=16)
    assert energy(wide, only(mac_16=1), **COUNTS) == pytest.approx(3200e-12, rel=1e-12)


def test_scratchpads() -> None:
    """A value for every 4 columns, a sum in and out for every 8 rows, memory's bytes twice."""
    assert scratchpad_bytes(SPEC, **COUNTS) == (
        (512 * 8, 800),
        (64 * 4, 3200),
        (256 * 8, 200),
        (512 * 8, 20),
    )
    total = energy(SPEC, only(scratchpad_byte={256: 1, 4096: 100}), **COUNTS)
    assert total == pytest.approx((3200 + 100 * 1020) * 1e-12, rel=1e-12)


def test_sizes_are_classes() -> None:
    table = energy_from(TABLE, where="t")
    assert table.scratchpad_byte == ((64, 1.0), (4096, 10.0))
    assert [table.byte_of(size) for size in (1, 64, 65, 4096, 1 << 30)] == [1, 1, 10, 10, 10]


def test_standard_table_is_its_source() -> None:
    """Horowitz: an 8-bit multiply and a 32-bit add; 64 bits of caches and of DRAM."""
    table = load_energy()
    assert "ISSCC 2014" in table.source
    assert table.mac_8 == pytest.approx(0.2 + 0.1)
    assert table.dram_byte == 1300 / 8
    assert table.scratchpad_byte == ((8 << 10, 10 / 8), (32 << 10, 20 / 8), (1 << 20, 100 / 8))
    assert table_names() == ["horowitz-45nm"]


def test_own_table(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump(TABLE))
    assert load_energy(path) == energy_from(TABLE, where="t") != load_energy()


BAD: dict[str, tuple[object, str]] = {
    "no mapping": ([], "t must be a mapping of keys, not list"),
    "unknown key": (
        TABLE | {"unit": "pJ"},
        "t: unknown key 'unit', allowed are source, picojoules",
    ),
    "no source": ({"picojoules": TABLE["picojoules"]}, "t: source is missing"),
    "empty source": (TABLE | {"source": " "}, "t: source must say where the numbers are from"),
    "unknown number": (changed(mac_4=1), "t: picojoules: unknown key 'mac_4', allowed are mac_8"),
    "missing number": (
        {"source": "s", "picojoules": {"mac_8": 1}},
        "t: picojoules: mac_16 is missing",
    ),
    "text": (changed(mac_8="1"), "t: mac_8 must be picojoules in 0..1e+06, not '1'"),
    "negative": (changed(dram_byte=-1), "t: dram_byte must be picojoules in 0..1e+06, not -1"),
    "not a number": (changed(mac_16=float("nan")), "t: mac_16 must be picojoules"),
    "true": (changed(mac_16=True), "t: mac_16 must be picojoules in 0..1e+06, not True"),
    "no sizes": (changed(scratchpad_byte=3), "t: scratchpad_byte must be picojoules by size"),
    "size in words": (
        changed(scratchpad_byte={"8k": 1}),
        "t: scratchpad_byte must have sizes in 1..2**40 bytes, not '8k'",
    ),
    "huge": (changed(scratchpad_byte={8: 1e9}), "t: scratchpad_byte.8 must be picojoules"),
}


@pytest.mark.parametrize(("content", "message"), BAD.values(), ids=BAD)
def test_bad_tables(content: object, message: str) -> None:
    with pytest.raises(InputError) as error:
        energy_from(content, where="t")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_unknown_names() -> None:
    with pytest.raises(InputError, match="energy must be a YAML file or one of horowitz-45nm"):
        load_energy("fusion")
    with pytest.raises(InputError, match=r"gone\.yaml: cannot be read"):
        load_energy("gone.yaml")
