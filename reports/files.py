"""Files and directories that appear whole or not at all, and are checked before long work."""

import json
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from moesaic.models.errors import InputError


def check_file(path: Path | None, option: str) -> None:
    """Raise InputError unless a file can be written at `path`."""
    if path is None:
        return
    try:
        if path.is_dir():
            raise InputError(f"{option}: {path} is a directory, must be a file")
        folder = path.parent
        if not folder.is_dir():
            raise InputError(f"{option}: {path} cannot be made, {folder} is no directory")
        if not os.access(folder, os.W_OK):
            raise InputError(f"{option}: {folder} is not writable")
    except OSError as error:
        raise InputError(f"{option}: {path}: {error.strerror or error}") from None


def check_directory(path: Path, option: str, marker: str) -> None:
    """Raise InputError unless a directory can be made at `path`, or replaced.

    Only an empty directory is replaced, or one that holds the file `marker`: an earlier result.
    """
    try:
        if path.exists() and not (
            path.is_dir() and ((path / marker).is_file() or not any(path.iterdir()))
        ):
            raise InputError(f"{option}: {path} exists and holds no {marker}: choose another name")
        folder = path.resolve().parent
        while not folder.exists():
            folder = folder.parent
        if not folder.is_dir() or not os.access(folder, os.W_OK):
            raise InputError(f"{option}: {path} cannot be made, {folder} is not writable")
    except OSError as error:
        raise InputError(f"{option}: {path}: {error.strerror or error}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file at once."""
    scratch = path.with_name(f".moesaic-{os.getpid()}-{path.name}"[:200])
    try:
        scratch.write_text(text, encoding="utf-8")
        scratch.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
    finally:
        scratch.unlink(missing_ok=True)


def write_json(path: Path, content: Any) -> None:
    """Write an object as JSON, at once."""
    write_text(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Give a directory to fill; it takes its place at `path` when all went well."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".moesaic-", dir=path.parent) as folder:
            scratch = Path(folder, "new")
            scratch.mkdir()
            yield scratch
            if path.exists():
                path.rename(Path(folder, "old"))
            scratch.rename(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from None
