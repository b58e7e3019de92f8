"""What one run is asked for, checked before anything is loaded."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter

from moesaic.dataflow.options import STANDARD, MapOptions
from moesaic.models.errors import InputError

BACKENDS = ("rtl", "model", "both")
SEED_LIMIT = (1 << 31) - 1
BATCH_LIMIT = 64
TASK_LIMIT = 1 << 16
STALL_LIMIT = 0.9
WAVES = (".vcd", ".fst")
STAGES = ("quantise", "map", "elaborate", "compile", "simulate", "compare")

Progress = Callable[[str, float | None], None]
"""Called with a stage's name as it begins, and with the name and its seconds as it ends."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """One run.

    Parameters
    ----------
    model, accel : str
        A model's name or directory; a preset or a YAML file.
    backend : {"rtl", "model", "both"}
        ``model`` does without RTL; the other two run and compare it.
    images : int, optional
        Number of images, a multiple of `batch`; one batch by default.
    input_file : Path, optional
        Images from a .npy file instead.
    batch : int
        Images in one command stream.
    task : int
        Which of a model's tasks; 0 where there is but one.
    seed : int
        Seed of made-up images and of stalls.
    stall : float
        Chance, 0 to 0.9, that an AXI channel of the RTL's memory stalls in a cycle.
    waves_file : Path, optional
        Where to write waves, ending in ``.vcd`` or ``.fst``.
    softmax_passes : int
        As :func:`moesaic.models.quantise.quantise` takes it.
    mapping : MapOptions
    """

    model: str
    accel: str
    backend: str = "both"
    images: int | None = None
    input_file: Path | None = None
    batch: int = 1
    task: int = 0
    seed: int = 0
    stall: float = 0.0
    waves_file: Path | None = None
    softmax_passes: int = 1
    mapping: MapOptions = STANDARD

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise InputError(
                f"--backend must be one of {', '.join(BACKENDS)}, not {self.backend!r}"
            )
        _check_integer("--batch", self.batch, 1, BATCH_LIMIT)
        _check_integer("--task", self.task, 0, TASK_LIMIT)
        _check_integer("--seed", self.seed, 0, SEED_LIMIT)
        if not 0 <= self.stall <= STALL_LIMIT:
            raise InputError(f"--stall must be in 0..{STALL_LIMIT}, not {self.stall!r}")
        if self.images is not None:
            if self.input_file is not None:
                raise InputError("--images and --input exclude each other")
            _check_integer("--images", self.images, 1, SEED_LIMIT)
            if self.images % self.batch:
                raise InputError(
                    f"--images must be a multiple of --batch = {self.batch}, not {self.images}"
                )
        if self.waves_file is not None:
            if self.waves_file.suffix not in WAVES:
                raise InputError(f"--waves must end in .vcd or .fst, not {self.waves_file.name!r}")
            if not self.rtl:
                raise InputError("--waves needs --backend rtl or both, not model")
        if self.stall and not self.rtl:
            raise InputError("--stall needs --backend rtl or both, not model")

    @property
    def rtl(self) -> bool:
        """Whether RTL runs."""
        return self.backend != "model"


def _check_integer(name: str, value: int, low: int, high: int) -> None:
    if type(value) is not int or not low <= value <= high:
        raise InputError(f"{name} must be an integer in {low}..{high}, not {value!r:.40}")


@dataclass(slots=True, kw_only=True)
class StageClock:
    """Wall seconds of each stage; tells `progress` of each."""

    progress: Progress
    seconds: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STAGES, 0.0))

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Time what happens inside."""
        self.progress(stage, None)
        began = perf_counter()
        yield
        self.seconds[stage] = perf_counter() - began
        self.progress(stage, self.seconds[stage])
