"""Mappings as YAML: read, saved, edited, replayed; and `moesaic map` from the outside."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from moesaic.dataflow.choices import LayerChoice
from moesaic.dataflow.mapper import freedoms
from moesaic.dataflow.mapping_file import dump_mapping, explicit, read_mapping, short_mapping
from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.models.errors import InputError
from moesaic.models.strict_yaml import SIZE_LIMIT
from moesaic.reports.cli import main
from moesaic.sim.experiment import run
from moesaic.sim.options import RunOptions
from moesaic.sim.sweep.space import load_space
from tests.mapping_cases import TINY, network
from tests.sweep_cases import save_small, write_space

OPTIONS = MapOptions(
    attention="plain",
    images=2,
    lag=5,
    layers=(
        ("block0.fc1", LayerChoice(tiles=2, rows=3, order="rows", ahead=4)),
        ("block0.attn.scores", LayerChoice(heads=2, slots=1, values=0, order="rolling")),
        ("block0.gate", LayerChoice(early=0)),
    ),
)
SEARCH = ["map", "small", "--accel", "tiny", "--out", "m", "--budget", "60"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def small() -> None:
    save_small(Path("small"))


@pytest.mark.parametrize("options", [STANDARD, OPTIONS], ids=["standard", "choices"])
def test_what_is_written_is_read_again(options: MapOptions) -> None:
    about = {"model": "small", "accel": "tiny", "task": 0, "batch": 2, "cycles": 1234}
    for text in (dump_mapping(options), dump_mapping(options, about)):
        Path("m.yaml").write_text(text)
        assert read_mapping(Path("m.yaml")) == options
    assert yaml.safe_load(dump_mapping(options, about))["made_for"] == about


def test_every_choice_is_written_out() -> None:
    there = freedoms(network("prenorm").graph, TINY)
    text = short_mapping(STANDARD, there, {"model": "small"})
    layers = yaml.safe_load(text)["layers"]
    assert {name: set(its) for name, its in layers.items()} == {n: set(i) for n, i in there.items()}
    assert "  block0.q: {tiles: 3, rows: 7, order: tiles, ahead: 0}\n" in text
    Path("m.yaml").write_text(text)
    assert read_mapping(Path("m.yaml")) == explicit(STANDARD, there)


def test_long_mappings_hold_what_is_unusual() -> None:
    one = freedoms(network("prenorm").graph, TINY)["block0.q"]
    there = {f"a.layer.with.a.name.of.some.length.{i}": one for i in range(1000)}
    text = short_mapping(OPTIONS, there, {"model": "large"})
    assert len(text) < SIZE_LIMIT < len(dump_mapping(explicit(STANDARD, there)))
    Path("m.yaml").write_text(text)
    assert read_mapping(Path("m.yaml")) == OPTIONS


BAD: list[tuple[Any, str]] = [
    ([], "m.yaml must be a table of keys, not list"),
    ({"lags": 2}, "m.yaml: unknown key 'lags', allowed are made_for, attention, experts, batch"),
    ({"lag": "two"}, "m.yaml: lag must be an integer in 0..64, not 'two'"),
    ({"attention": "fast"}, "m.yaml: attention must be one of shared, plain, not 'fast'"),
    ({"made_for": {"colour": 1}}, "m.yaml: made_for: unknown key 'colour', allowed are model"),
    ({"made_for": 3}, "m.yaml: made_for must be a table of keys, not int"),
    ({"layers": ["a"]}, "m.yaml: layers must be a table of keys, not list"),
    ({"layers": {7: {"rows": 1}}}, "m.yaml: layers: unknown key '7', allowed are names of layers"),
    ({"layers": {"q": 3}}, "m.yaml: layers: q must be a table of keys, not int"),
    ({"layers": {"q": {"tile": 3}}}, "m.yaml: layers: q: unknown key 'tile', allowed are tiles, "),
    ({"layers": {"q": {"tiles": 1.5}}}, "m.yaml: layers: q: tiles must be an integer in 0..65536"),
    ({"layers": {"q": {"tiles": None}}}, "m.yaml: layers: q: tiles has no value"),
    ({"layers": {"q": {"order": []}}}, "m.yaml: layers: q: order must be one of tiles, first"),
]


@pytest.mark.parametrize(("content", "message"), BAD, ids=[m[8:40] for _, m in BAD])
def test_mistakes_are_named(content: Any, message: str) -> None:
    Path("m.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError) as refusal:
        read_mapping(Path("m.yaml"))
    assert str(refusal.value).startswith(message)
    assert "\n" not in str(refusal.value)


@pytest.mark.xdist_group("tiny")
def test_searched_mapping_on_rtl(capsys: pytest.CaptureFixture[str]) -> None:
    """Searched, written, replayed on model and RTL to the bit and to the cycle."""
    small()
    assert main([*SEARCH[:-1], "300"]) == 0
    out = capsys.readouterr().out
    made = yaml.safe_load(Path("m/mapping.yaml").read_text())["made_for"]
    assert made["model"] == "small"
    usual = run(RunOptions(model="small", accel="tiny", backend="model")).timing.cycles
    assert f"cycles with the mapper's own choices: {usual:,}" in out
    assert f"cycles with the mapping found: {made['cycles']:,}, " in out
    assert "mappings tried: 300 (a search)" in out  # whether now or by an earlier run
    assert made["cycles"] < usual
    line = ["run", "small", "--accel", "tiny", "--mapping", "m/mapping.yaml"]
    assert main([*line, "--json", "run.json"]) == 0
    content = json.loads(Path("run.json").read_text())
    assert content["bit_exact"] is True
    assert content["cycles_exact"] is True
    assert content["cycles_rtl"] == content["cycles_predicted"] == made["cycles"]


def test_edited_mapping_takes_effect(capsys: pytest.CaptureFixture[str]) -> None:
    small()
    assert main([*SEARCH, "--knobs", "lag"]) == 0
    path = Path("m/mapping.yaml")
    content = yaml.safe_load(path.read_text())
    mapping = read_mapping(path)

    def streams() -> int:
        options = RunOptions(
            model="small", accel="tiny", backend="model", mapping=read_mapping(path)
        )
        program = run(options).program
        return sum(note.node == "block0.fc1" for note in program.notes)

    before = streams()
    content["layers"]["block0.fc1"] |= {"tiles": 1}
    path.write_text(yaml.safe_dump(content))
    assert read_mapping(path) != mapping
    assert streams() > before
    assert (
        main(["run", "small", "--accel", "tiny", "--backend", "model", "--mapping", str(path)]) == 0
    )
    content["layers"]["block0.fc1"] |= {"tiles": 99}
    path.write_text(yaml.safe_dump(content))
    capsys.readouterr()
    assert main(["run", "small", "--accel", "tiny", "--mapping", str(path)]) == 2
    message = capsys.readouterr().err
    assert "layers: block0.fc1: tiles must be in 1.." in message
    assert message.count("\n") == 1


def test_search_from_a_mapping(capsys: pytest.CaptureFixture[str]) -> None:
    small()
    assert main(SEARCH) == 0
    assert main([*SEARCH, "--start", "m/mapping.yaml", "--seed", "5", "--batch", "1"]) == 0
    out = capsys.readouterr().out
    assert "cycles with the mapping of --start: " in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--knobs", "tiles,colour"], "--knobs must be of tiles, rows, .*, not 'colour'"),
        (["--budget", "0"], "--budget: must be an integer in 1"),
        (["--task", "3"], "task"),
        (["--accel", "tiny-train"], "--accel tiny-train is for training"),
        (["--start", "none.yaml"], "none.yaml: cannot be read"),
        (["--out", "small"], "--out: small exists and holds no mapping.yaml"),
    ],
)
def test_bad_searches(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    small()
    assert main([*SEARCH, *words]) == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1
    assert not Path("m").exists()


def test_sweeps_take_numbers_of_mappings() -> None:
    small()
    path = write_space(Path("s.yaml"), parameters={"mapping.lag": [1, 2], "rows": [8]})
    space = load_space(str(path))
    assert [space.at(i)["mapping.lag"] for i in range(2)] == [1, 2]
    write_space(path, parameters={"mapping.layers": ["a"], "rows": [8]})
    with pytest.raises(InputError, match=r"mapping.layers"):
        load_space(str(path))
    write_space(path, parameters={"mapping.lag": ["a"], "rows": [8]})
    with pytest.raises(InputError, match=r"mapping.lag"):
        load_space(str(path))
