"""The documentation's examples run as they stand, but for those that need a file or minutes."""

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
NEEDS = (
    "encoder.onnx",
    "write_figures",
    "synthesise",
    "simulate",
    "RunOptions",
)  # files, minutes, a build


def snippets() -> list[tuple[str, str]]:
    found = []
    for page in sorted(DOCS.glob("*.md")):
        for i, text in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)):
            found.append((f"{page.stem}-{i}", text))
    return found


def test_there_are_examples() -> None:
    assert len(snippets()) >= 6


@pytest.mark.parametrize(
    ("name", "text"),
    [pytest.param(n, t, id=n) for n, t in snippets() if not any(w in t for w in NEEDS)],
)
def test_example_runs(name: str, text: str) -> None:
    exec(compile(text, name, "exec"), {})  # noqa: S102


@pytest.mark.xdist_group("tiny")
@pytest.mark.parametrize(
    ("name", "text"),
    [pytest.param(n, t, id=n) for n, t in snippets() if "simulate" in t or "RunOptions" in t],
)
def test_example_with_rtl_runs(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    exec(compile(text, name, "exec"), {})  # noqa: S102
