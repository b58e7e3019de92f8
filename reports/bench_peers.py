"""What benches against other tools share: the layer's products, and a tool's own environment."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

INSTALL_TIMEOUT, RUN_TIMEOUT = 600, 1800


@dataclass(frozen=True, slots=True, kw_only=True)
class Gemm:
    """``(m, k)`` times ``(k, n)``."""

    name: str
    m: int
    n: int
    k: int


class PeerError(RuntimeError):
    """A tool cannot be had or fails; the message is one line."""


def encoder_gemms(tokens: int, dim: int, heads: int, mlp: int) -> list[Gemm]:
    """Return the GEMMs of one encoder layer."""
    head = dim // heads
    shapes = [("qkv", tokens, 3 * dim, dim)]
    shapes += [(f"scores{i}", tokens, tokens, head) for i in range(heads)]
    shapes += [(f"values{i}", tokens, head, tokens) for i in range(heads)]
    shapes += [
        ("proj", tokens, dim, dim),
        ("fc1", tokens, mlp, dim),
        ("fc2", tokens, dim, mlp),
    ]
    return [Gemm(name=name, m=m, n=n, k=k) for name, m, n, k in shapes]


def peer_python(folder: Path, requirements: Sequence[str]) -> Path:
    """Return the interpreter of a virtual environment that holds a tool; made if missing.

    Raises
    ------
    PeerError
        If the tool cannot be installed.
    """
    python = folder / "bin" / "python"
    if not (folder / "ready").exists():
        call([sys.executable, "-m", "venv", str(folder)], "a virtual environment", folder.parent)
        pip = [str(python), "-m", "pip", "install", "-qq", "--disable-pip-version-check"]
        call([*pip, *requirements], f"pip install {requirements[0]}", folder)
        (folder / "ready").touch()
    return python


def answer_of(python: Path, script: str, what: str, work: Path) -> dict[str, float]:
    """Run a tool's script in its directory and return what it leaves in ``answer.json``."""
    call([str(python), "-c", script], what, work, timeout=RUN_TIMEOUT)
    answer: dict[str, float] = json.loads((work / "answer.json").read_text())
    return answer


def call(command: list[str], what: str, where: Path, *, timeout: int = INSTALL_TIMEOUT) -> None:
    """Run a command in a directory, which is made; PeerError says in one line what went wrong."""
    where.mkdir(parents=True, exist_ok=True)
    try:
        run = subprocess.run(
            command, cwd=where, capture_output=True, text=True, timeout=timeout, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise PeerError(f"{what}: {error}") from None
    if run.returncode:
        last = ((run.stderr or run.stdout).strip().splitlines() or ["no message"])[-1]
        raise PeerError(f"{what}: {last}")
