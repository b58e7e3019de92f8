"""The design spaces that ship."""

from pathlib import Path

SPACES = Path(__file__).parent / "spaces"


def space_names() -> list[str]:
    """Return the names of the spaces that `sweep` takes without a file."""
    return sorted(path.stem for path in SPACES.glob("*.yaml"))
