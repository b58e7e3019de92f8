"""The store: a sweep that is killed and goes on ends as one that nobody disturbed."""

import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from moesaic.models.errors import InputError
from moesaic.reports.cli import main
from moesaic.sim.sweep.evaluate import Outcome
from moesaic.sim.sweep.store import STORE_FILE, create_store, open_store, read_store
from tests.sweep_cases import LARGE_PARAMETERS, SMALL, save_small, write_space

KILLS, POINTS = 3, 60
COMMAND = [sys.executable, "-m", "moesaic.reports.cli", "sweep", "space.yaml", "--out"]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    save_small(tmp_path / "small")


def known(folder: Path) -> int:
    """Return how many points a store holds while somebody writes it; 0 before there is one."""
    with suppress(Exception):
        return len(read_store(folder).points)
    return 0


@pytest.mark.parametrize("sampler", ["random", "nsga2"])
def test_killed_sweeps_end_as_undisturbed_ones(sampler: str) -> None:
    parameters = SMALL["parameters"] | LARGE_PARAMETERS
    points = {"sampler": sampler, "points": POINTS, "seed": 4, "generation": 16}
    write_space(Path("space.yaml"), parameters=parameters, **points)
    rng = np.random.default_rng(7)
    before = 0
    for i in range(KILLS):
        words = [*COMMAND, "killed", *(["--resume"] if i else [])]
        with subprocess.Popen(words, stdout=subprocess.DEVNULL) as process:
            enough = before + int(rng.integers(1, 15))
            while known(Path("killed")) < enough and process.poll() is None:
                time.sleep(0.005)
            process.kill()
        kept = known(Path("killed"))
        assert before < enough <= kept  # nothing that was seen is lost
        before = kept
    assert before < POINTS
    assert main([*COMMAND[3:], "killed", "--resume"]) == 0
    assert main([*COMMAND[3:], "whole"]) == 0
    assert {p.name for p in Path("whole").iterdir()} == {"points.csv", STORE_FILE, "sweep.json"}
    killed, whole = (read_store(Path(name)) for name in ("killed", "whole"))
    assert killed.content() == whole.content()
    assert len(whole.points) == POINTS


def test_a_point_is_kept_once(tmp_path: Path) -> None:
    space: dict[str, Any] = {"base": "tiny", "points": 2}
    create_store(tmp_path, space)
    with open_store(tmp_path, space) as store:
        store.add(0, "a", Outcome(figures={"cycles": 7}))
        with pytest.raises(InputError, match="is not the store of a sweep, or damaged"):
            with open_store(tmp_path / "small", space):
                pass
        with pytest.raises(InputError, match="another sweep is at work here"):
            with open_store(tmp_path, space):
                pass
    with pytest.raises(InputError, match="points must be as when the sweep began, 2, not 3"):
        with open_store(tmp_path, space | {"points": 3}):
            pass
    with open_store(tmp_path, space) as store:
        assert store.content() == {"a": (0, {"cycles": 7}, "")}
