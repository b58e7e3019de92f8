"""What `moesaic hls` writes, what its testbench says, and what is refused."""

import subprocess
from pathlib import Path

import numpy as np
import pytest

from moesaic.hls_templates.block_nodes import block_nodes
from moesaic.hls_templates.catalogue import KINDS, unit_of
from moesaic.hls_templates.literals import literal
from moesaic.hls_templates.numerics import NUMERICS, constants
from moesaic.hls_templates.render import TEMPLATES, package
from moesaic.hls_templates.unit import Vectors
from moesaic.models.errors import InputError
from moesaic.models.quantise import quantise
from moesaic.models.sample_networks import sample_images, sample_network
from moesaic.reports.cli import main
from moesaic.reports.commands import hls_command
from moesaic.sim.csim import Outcome, compile_units, run_units, write_files


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("select")
    write_files(package(unit_of("select", ["nm=2:4"])), folder)
    return compile_units(folder)


@pytest.fixture
def vectors(built: Path) -> Path:
    """The vectors of the built package, as they were."""
    files = package(unit_of("select", ["nm=2:4"]))
    write_files({name: text for name, text in files.items() if name.endswith(".txt")}, built.parent)
    (path,) = (built.parent / "vectors").glob("*.txt")
    return path


def code(program: Path) -> int:
    return subprocess.run([program, program.parent / "vectors"], check=False).returncode


def test_the_first_difference_is_named(built: Path, vectors: Path) -> None:
    lines = vectors.read_text().splitlines()
    values = lines[6].split()  # the outputs of case 2: two values, then two places
    assert values[3] == "3"
    lines[6] = " ".join([*values[:3], "2"])
    vectors.write_text("\n".join(lines))
    name, count = vectors.stem, lines[0].split()[0]
    assert run_units(built) == Outcome(
        equal=False,
        lines=(
            f"{name}: case 2: place[1] is 3, must be 2",
            f"{name}: {int(count) - 1} of {count} cases equal",
        ),
    )
    assert code(built) == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be opened"),
        ("", "is cut off or empty"),
        ("0 4 4\n", "is cut off or empty"),
        ("2 4 4\n0 0 0 0\n0 0 0 1\n0 0 0", "is cut off or empty"),
        ("1 8 4\n", "cases must have 4 and 4 words, not 8 and 4"),
    ],
)
def test_bad_vectors_are_refused(built: Path, vectors: Path, text: str | None, said: str) -> None:
    vectors.unlink()
    if text is not None:
        vectors.write_text(text)
    outcome = run_units(built)
    assert said in outcome.lines[-1]
    assert not outcome.equal
    assert code(built) == 2


def test_a_package_is_the_same_each_time_and_holds_its_scripts() -> None:
    first, second = (package(unit_of("gate", ["top=1"]), seed=3) for _ in range(2))
    assert first == second
    assert {"Makefile", "csim.tcl", "testbench.cpp", "bench.h"} <= set(first)
    unit = unit_of("gate", ["top=1"]).name
    assert f"set_top {unit}_top" in first["csim.tcl"]
    assert f"void {unit}_top(" in first[f"{unit}.h"]
    assert {f"{name}.h" for name in NUMERICS} <= set(first)


def test_the_commands_own_list_of_units_is_the_catalogues() -> None:
    assert set(hls_command.KINDS) == set(KINDS)


def test_templates_hold_no_table_of_their_own() -> None:
    """Tables come from the models: no template has more than a few numbers in a row."""
    for path in sorted(TEMPLATES.rglob("*.j2")):
        assert not any(line.count(",") > 14 for line in path.read_text().splitlines()), path
    tables = [v for name in NUMERICS for v in constants(name).values() if isinstance(v, str)]
    assert len(tables) >= 7


def test_literal() -> None:
    assert literal(np.array([[1, -2], [3, 4]])) == "{\n{1, -2},\n{3, 4}}"
    assert max(map(len, literal(np.arange(300)).splitlines())) <= 100


def test_vectors_keep_the_order_of_ports() -> None:
    a, b = np.arange(6).reshape(2, 3), np.array([7, 8])
    vectors = Vectors.of({"a": a}, {"b": b, "a": a})
    assert vectors.outputs.tolist() == [[7, 0, 1, 2], [8, 3, 4, 5]]
    assert vectors.ports == {"b": 1, "a": 3}


def test_command_writes_and_compares(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    line = ["hls", "requantise", "--set", "out_bits=16", "--set", "lanes=3", "--out", str(out)]
    assert main([*line, "--check"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "requantise_ob16_c32_l3: 185 of 185 cases equal"
    assert said[-1] == f"written to {out}; the top is requantise_ob16_c32_l3_top"
    assert {path.suffix for path in out.iterdir()} == {"", ".cpp", ".h", ".tcl"}
    assert main(line) == 0  # replaces what it wrote
    made = subprocess.run(["make", "-C", out], capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    assert said[0] in made.stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["requantize"], "UNIT must be one of requantise, product"),
        (["gelu", "--set", "wide_bits=17"], "wide_bits must be one of 16, 24, not 17"),
        (["gelu", "--set", "wide_bits"], "--set of gelu must be NAME=VALUE with a NAME of wide_b"),
        (["gelu", "--set", "bits=8"], "a NAME of wide_bits, channels, lanes, not 'bits=8'"),
        (["gelu", "--set", "lanes=2", "--set", "lanes=3"], "--set must name lanes once"),
        (["gelu", "--set", "lanes=many"], "lanes must be an integer in 1..64, not 'many'"),
        (["gelu", "--set", "lanes=0"], "lanes must be in 1..64, not 0"),
        (["softmax", "--set", "length=4097"], "length must be in 1..4096, not 4097"),
        (["layernorm", "--set", "to_wide=1"], "to_wide must be one of False, True, not 1"),
        (["product", "--set", "nm=3:8"], "sparsity must be N:M with N in 1, 2, 4"),
        (["product", "--set", "nm=2:8", "--set", "rows=12"], "rows must be whole groups of 2:8"),
        (["gate", "--set", "experts=3", "--set", "top=4"], "top must be in 1..3, not 4"),
        (["gate", "--set", "banks=3"], "banks must be in 1..2, not 3"),
        (["attention", "--set", "slots=65"], "slots must be in 1..64, not 65"),
        (["select", "--set", "numbers=int4"], "numbers must be one of int8, int16, fp16, bf16"),
        (["select", "--set", "nm=dense"], "nm must be N:M, not dense"),
        (["block"], "--model must be given with the unit block"),
        (["gelu", "--model", "vit-mnist"], "--model must be given with the unit block"),
        (["block", "--model", "no-such"], "MODEL must be one of"),
        (["block", "--model", "vit-mnist", "--set", "number=99"], "block must be in 0.."),
        (["block", "--model", "vit-mnist", "--set", "images=0"], "images must be in 1..100, not 0"),
    ],
)
def test_bad_input_is_one_line(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["hls", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("form", "gelu", "passes", "said"),
    [
        ("postnorm", "table", 1, "norm before attention is not one node alone"),
        ("experts", "table", 1, "hidden layer is not one node alone"),
        ("prenorm", "polynomial", 1, "its GELU is polynomial"),
        ("prenorm", "table", 2, "its softmax takes 2 passes"),
    ],
)
def test_other_blocks_are_refused(form: str, gelu: str, passes: int, said: str) -> None:
    network = sample_network(form)
    graph = quantise(network, sample_images(network, 4), gelu=gelu, softmax_passes=passes)
    with pytest.raises(InputError, match=said):
        block_nodes(graph, 0)
