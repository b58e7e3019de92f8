"""The table of methods: it resumes, asks for all, and is the one that docs/models.md holds."""

import json
from pathlib import Path

import pytest
import yaml

from moesaic.models.torch_zoo import method_table
from moesaic.models.torch_zoo.method_table import (
    RATIOS,
    plain,
    read_runs,
    replace_table,
    specs,
    table,
)

DOCS = Path(__file__).parents[1] / "docs"
MODEL = {"image": 8, "channels": 1, "layers": [8, "average", 16, "residual"], "classes": 10}


def test_table_trains_what_is_missing_and_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quick.yaml").write_text(
        yaml.safe_dump(
            {
                "name": "quick",
                "dataset": "digits",
                "model": MODEL,
                "method": {"method": "dense"},
                "seed": 1,
                "epochs": 1,
                "batch": 300,
                "learning_rate": 0.05,
            }
        )
    )
    wanted = [specs()[0], specs()[1]]
    monkeypatch.setattr(method_table, "NETWORKS", (str(tmp_path / "quick.yaml"),))
    monkeypatch.setattr(method_table, "SEEDS", (1, 2))
    monkeypatch.setattr(method_table, "specs", lambda: wanted)
    runs = tmp_path / "runs.jsonl"
    assert method_table.main([str(runs)]) == 0
    whole = capsys.readouterr()
    assert whole.err.count("\n") == 4
    lines = runs.read_text().splitlines()
    runs.write_text("\n".join(lines[:3]) + "\n")
    assert method_table.main([str(runs)]) == 0
    assert capsys.readouterr().err.count("\n") == 1
    got, before = (json.loads(text[3]) for text in (runs.read_text().splitlines(), lines))
    assert got | {"seconds": 0} == before | {"seconds": 0}


def test_the_table_asks_for_every_method_and_ratio() -> None:
    asked = [(spec.method, spec.nm) for spec in specs()]
    assert len(specs()) == len({json.dumps(plain(spec)) for spec in specs()})
    for method in ("bdwp", "srste", "sdgp", "sdwp"):
        assert {nm for m, nm in asked if m == method} == set(RATIOS)


def test_a_table_takes_the_place_of_an_older_one() -> None:
    old = "a\n| m |\n|---|\n| 1 |\n| 2 |\n\nb | c\n"
    assert replace_table(old, ["| m |", "|---|", "| 3 |"]) == "a\n| m |\n|---|\n| 3 |\n\nb | c\n"
    with pytest.raises(ValueError, match="must have a table"):
        replace_table(old, ["| x |"])


def test_docs_hold_the_table_of_the_runs() -> None:
    text = (DOCS / "models.md").read_text()
    lines = "\n".join(table(read_runs(DOCS / "method_runs.jsonl")))
    assert lines in text
