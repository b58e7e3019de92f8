"""The standard memory against another project's AXI master: data, responses and files."""

from pathlib import Path

import numpy as np
import pytest

from moesaic.sim import dma_bench
from moesaic.sim.build import build
from moesaic.sim.run import run_cocotb

TOP = "axi_memory_bench"
HERE = Path(__file__).parent
IMAGE_BYTES = 20_000


@pytest.fixture(scope="module")
def program() -> Path:
    sources = {f: (dma_bench.SOURCES / f).read_text() for f in ("axi_memory.sv", "memory.cpp")}
    return build(sources | {f"{TOP}.sv": (HERE / f"{TOP}.sv").read_text()}, top=TOP)


@pytest.mark.parametrize("pauses", [False, True], ids=["eager", "pausing"])
@pytest.mark.parametrize("stall", [0.0, 0.5])
def test_another_master_agrees(program: Path, stall: float, pauses: bool, tmp_path: Path) -> None:
    image = np.random.default_rng(3).integers(0, 256, IMAGE_BYTES, dtype=np.uint8)
    image.tofile(tmp_path / "image.bin")
    padded = np.append(image, np.zeros(48, dtype=np.uint8))
    padded.tofile(tmp_path / "padded.bin")
    settings = ("+latency=7", "+rate_num=37", "+rate_den=5", f"+stall={stall}", "+seed=11")
    files = ("+image=image.bin", f"+memory_bytes={IMAGE_BYTES + 48}", "+dump=dump.bin")
    run = run_cocotb(
        program,
        top=TOP,
        test_module="cocotb_axi_memory",
        run_dir=tmp_path,
        env={"PAUSES": str(int(pauses)), "IMAGE": str(tmp_path / "padded.bin")},
        plusargs=(*settings, *files),
        python_path=(HERE,),
        timeout=120,
    )
    assert len(run.tests) == 2
    dump = np.fromfile(tmp_path / "dump.bin", dtype=np.uint8)
    expected = np.fromfile(tmp_path / "expected.bin", dtype=np.uint8)
    np.testing.assert_array_equal(dump, expected)
