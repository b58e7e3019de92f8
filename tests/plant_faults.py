"""Plants one fault at a time in a copy of the sources and asks for a test that fails.

``python tests/plant_faults.py`` tries all faults of ``tests/faults/*.yaml`` and writes
``docs/faults.md``; it exits with 1 if a fault survives or does not fit the sources any more.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from moesaic.sim.build import cache_directory

ROOT = Path(__file__).parents[1]
FAULTS = ROOT / "tests" / "faults"
REPORT = ROOT / "docs" / "faults.md"
FOLDERS = ("hw", "models", "sim", "dataflow", "hls_templates", "reports")
LIMIT = 900  # seconds; every test bounds its own steps, so this is never reached
# What a fault must not be: source that does not even elaborate.
BROKEN = re.compile(
    r"\b(Syntax|Name|Attribute|Type|Index|Import|Key)Error|DriverConflict|EmitError|CompileError"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One change of one file in `folder`, and the tests of which one must fail."""

    folder: str = "hw"
    file: str
    what: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __post_init__(self) -> None:
        """Refuse a folder of which no copy is made."""
        if self.folder not in FOLDERS:
            raise ValueError(f"folder must be one of {', '.join(FOLDERS)}, not {self.folder}")

    def apply(self, source: str) -> str:
        """Return the source with the fault; ValueError unless the old text is there once."""
        if source.count(self.old) != 1:
            raise ValueError(f"{self.old!r} is {source.count(self.old)} times in {self.file}")
        return source.replace(self.old, self.new)


@dataclass(slots=True, kw_only=True)
class Outcome:
    """What became of a fault: ``caught``, ``SURVIVED``, ``INVALID`` or ``STALE``."""

    fault: Fault
    result: str
    test: str = ""
    seconds: float = 0.0
    log: str = field(default="", repr=False)


def load_faults(only: str) -> list[Fault]:
    """Return all faults whose file or description matches."""
    faults = []
    for path in sorted(FAULTS.glob("*.yaml")):
        for entry in yaml.safe_load(path.read_text()):
            fault = Fault(**entry | {"tests": tuple(entry["tests"])})
            if re.search(only, f"{fault.file} {fault.what}"):
                faults.append(fault)
    return faults


@contextmanager
def tree(fault: Fault | None) -> Iterator[Path]:
    """Make a tree whose package ``moesaic`` has copies of hw/ and of the folder with the fault."""
    with tempfile.TemporaryDirectory(prefix="fault-") as scratch:
        folder = Path(scratch)
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / "tests", folder / "tests", ignore=ignore)
        shutil.copy(ROOT / "pyproject.toml", folder)
        (folder / "moesaic").mkdir()
        for name in FOLDERS:
            if name == "hw" or (fault is not None and name == fault.folder):
                shutil.copytree(ROOT / name, folder / name, ignore=ignore)
            else:
                (folder / name).symlink_to(ROOT / name)
            (folder / "moesaic" / name).symlink_to(folder / name)
        if fault is not None:
            path = folder / fault.folder / fault.file
            path.write_text(fault.apply(path.read_text()))
        yield folder


def environment(folder: Path, cache: Path) -> dict[str, str]:
    """Return the variables with which Python finds the copy, and simulations their own cache."""
    return os.environ | {
        "PYTHONPATH": str(folder),
        "MOESAIC_CACHE": str(cache),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def run_tests(folder: Path, cache: Path, tests: Sequence[str]) -> tuple[int, str]:
    """Run tests in a tree; return pytest's exit code and what it said."""
    where = "import moesaic.hw.cell as c; print(c.__file__)"
    pytest = ["-m", "pytest", "-x", "-q", "--tb=line", "-p", "no:cacheprovider", "-p", "no:xdist"]
    pytest += ["-o", "addopts=--import-mode=importlib", *tests]
    said = ""
    for command in (["-c", where], pytest):
        run = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env=environment(folder, cache),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LIMIT,
            check=False,
        )
        said = run.stdout
        if command[0] == "-c" and not Path(said.strip()).resolve().is_relative_to(folder.resolve()):
            raise RuntimeError(f"tests would run on {said.strip()}, not on the copy")
    return run.returncode, said


def try_fault(fault: Fault, cache: Path) -> Outcome:
    """Plant one fault and run its tests."""
    start = time.perf_counter()
    try:
        with tree(fault) as folder:
            code, said = run_tests(folder, cache, fault.tests)
    except ValueError as error:
        return Outcome(fault=fault, result="STALE", log=str(error))
    except subprocess.TimeoutExpired:
        return Outcome(fault=fault, result="INVALID", log=f"over {LIMIT} s")
    failed = re.search(r"^(?:FAILED|ERROR) (\S+(?: [^-]\S*)*)(?: - (.*))?$", said, re.MULTILINE)
    out = Outcome(fault=fault, result="SURVIVED", log=said)
    out.seconds = time.perf_counter() - start
    if code == 1 and failed is not None:
        out.test = failed[1].removeprefix("tests/")
        out.result = "INVALID" if BROKEN.search(failed[2] or "") else "caught"
    elif code:
        out.result = "INVALID"
    return out


def say(text: str) -> None:
    """Write a line now, since the next may take minutes."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def row(outcome: Outcome) -> str:
    """Return a fault's line of the table."""
    block = outcome.fault.file.removesuffix(".py")
    if outcome.fault.folder != "hw":
        block = f"{outcome.fault.folder}/{block}"
    test = f"`{outcome.test}`" if outcome.result == "caught" else f"**{outcome.result}**"
    return f"| {block} | {outcome.fault.what} | {test} | {outcome.seconds:.0f} |"


def report(before: str, faults: Sequence[Fault], outcomes: Sequence[Outcome]) -> str:
    """Return the table of all `faults`; those that were not tried keep their line of `before`."""
    lines = {tuple(line.split(" | ")[:2]): line for line in before.splitlines()}
    lines |= {tuple(row(outcome).split(" | ")[:2]): row(outcome) for outcome in outcomes}
    known = [tuple(row(Outcome(fault=fault, result="")).split(" | ")[:2]) for fault in faults]
    rows = [lines[key] for key in sorted(known) if key in lines]
    caught = sum("**" not in line for line in rows)
    blocks = len({fault.file for fault in faults})
    head = [
        "# Planted faults",
        "",
        "Each line is one change in one file of `hw/`, or of the folder named, in a copy of it.",
        f"{caught} of {len(faults)} faults in {blocks} files made a test fail; the first that did.",
        "`make faults` plants them again and writes this file.",
        "",
        "| block | fault | first test that fails | seconds |",
        "|---|---|---|---:|",
    ]
    return "\n".join([*head, *rows, ""])


def main(arguments: Sequence[str] | None = None) -> int:
    """Plant faults and tell what became of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="regular expression on file and description")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument(
        "--no-baseline", action="store_true", help="do not run the tests as they are"
    )
    options = parser.parse_args(arguments)
    faults = load_faults(options.only)
    os.nice(10)
    with tempfile.TemporaryDirectory(prefix="fault-cache-") as scratch:
        cache = Path(scratch)
        runtime = cache_directory() / "runtime"
        runtime.mkdir(parents=True, exist_ok=True)
        (cache / "runtime").symlink_to(runtime)
        if not options.no_baseline:
            tests = sorted({test for fault in faults for test in fault.tests})
            with tree(None) as folder:
                code, said = run_tests(folder, cache, tests)
            if code:
                say(said)
                say("the tests fail without a fault")
                return 1
        outcomes = []
        with ThreadPoolExecutor(options.jobs) as pool:
            for future in as_completed(pool.submit(try_fault, fault, cache) for fault in faults):
                outcome = future.result()
                outcomes.append(outcome)
                name = f"{outcome.fault.file}: {outcome.fault.what}"
                say(f"{outcome.result:9}{outcome.seconds:5.0f} s  {name}  {outcome.test}")
                if outcome.result != "caught":
                    say("\n".join(outcome.log.splitlines()[-12:]))
    before = REPORT.read_text() if REPORT.exists() else ""
    REPORT.write_text(report(before, load_faults(""), outcomes))
    bad = [outcome for outcome in outcomes if outcome.result != "caught"]
    say(f"{len(outcomes) - len(bad)} of {len(outcomes)} faults caught")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
