"""The accelerator's Verilog, made once for each set of parameters that the RTL depends on."""

import hashlib
import os
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import moesaic.hw
import moesaic.models
from moesaic.hw.top import top_verilog
from moesaic.hw.training.top import training_verilog
from moesaic.models.accel import AccelSpec, BoardSpec, MemorySpec
from moesaic.models.numbers import INTEGER
from moesaic.sim.build import cache_directory

MAKERS = ("amaranth", "pyosys")


def cached_verilog(spec: AccelSpec) -> str:
    """Return :func:`moesaic.hw.top.top_verilog` of `spec`, from the cache where it can be.

    The key holds the parameters (name, clock, memory and board apart, which change no RTL), the
    sources of RTL and models, and the versions of the tools.
    """
    plain = replace(spec, name="plain", clock_hz=1_000_000, memory=MemorySpec(), board=BoardSpec())
    digest = hashlib.sha256(repr(plain).encode())
    for package in (moesaic.hw, moesaic.models):
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py")):
            digest.update(path.read_bytes())
    for maker in MAKERS:
        digest.update(version(maker).encode())
    folder = cache_directory() / "verilog"
    path = folder / f"{digest.hexdigest()[:24]}.sv"
    if path.exists():
        return path.read_text(encoding="utf-8")
    text = (top_verilog if spec.numbers == INTEGER else training_verilog)(plain)
    folder.mkdir(parents=True, exist_ok=True)
    handle, scratch = tempfile.mkstemp(dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    Path(scratch).replace(path)
    return text
