"""What a step's cycles, bytes and MACs are spent on: stages, layers, units."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil

from moesaic.dataflow.account import Floor, Span, busy_cycles, spent_cycles
from moesaic.dataflow.cycles import Timing
from moesaic.dataflow.training.mapper import TrainNote, TrainProgram
from moesaic.models.commands import UNITS, Unit
from moesaic.models.training.step import STAGES

OWNERS = (Unit.STREAM, Unit.VECTOR, Unit.STORE, Unit.LOAD)
OTHER = "machine"  # fetches of commands, and the end


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """What one stage of one layer takes; `dense_macs` are its MACs without N:M."""

    layer: str
    stage: str
    macs: int
    dense_macs: int
    cycles: int
    bytes_read: int
    bytes_written: int


def shares(
    program: TrainProgram,
    layers: Sequence[str],
    accepted: Sequence[int],
    done: Sequence[int],
    cycles: int,
) -> list[Share]:
    """Return the shares of all stages of all layers, in the order of their first command.

    A cycle goes to the product at work, else to the pass, the store or the load; their cycles sum
    to `cycles`. `layers` are the network's; what belongs to none has the first part of its name.
    A product with packed weights belongs to their layer, whatever takes its result.
    """
    names = layers_of(program, layers)
    spans: dict[Unit, list[Span]] = {unit: [] for unit in OWNERS}
    moved: dict[str, list[int]] = {}
    for command, note, layer, start, end in zip(
        program.commands, program.notes, names, accepted, done, strict=True
    ):
        unit, key = Unit(command["unit"]), f"{layer}\0{note.stage}"
        if not note.stage:
            continue
        totals = moved.setdefault(key, [0, 0, 0, 0])
        totals[0] += note.macs
        totals[1] += note.dense_macs
        if unit in (Unit.LOAD, Unit.STORE):
            size = command["rows"] * command["row_beats"] * program.spec.bus_bytes
            totals[2 if unit == Unit.LOAD else 3] += size
        if unit in spans:
            spans[unit].append((start, end + 1, key))
    last = list(moved)[-1]
    spent = spent_cycles([spans[unit] for unit in OWNERS], cycles, last=last)
    return [
        Share(
            layer=key.split("\0")[0],
            stage=key.split("\0")[1],
            macs=macs,
            dense_macs=dense_macs,
            cycles=spent.get(key, 0),
            bytes_read=read,
            bytes_written=written,
        )
        for key, (macs, dense_macs, read, written) in moved.items()
    ]


def by_stage(found: Sequence[Share]) -> dict[str, dict[str, int]]:
    """Return MACs, cycles and bytes of each stage."""
    figures = ("macs", "dense_macs", "cycles", "bytes_read", "bytes_written")
    out = {stage: dict.fromkeys(figures, 0) for stage in STAGES}
    for share in found:
        for name, total in out[share.stage].items():
            out[share.stage][name] = total + getattr(share, name)
    return out


def busy_units(
    program: TrainProgram, accepted: Sequence[int], done: Sequence[int], cycles: int
) -> dict[str, int]:
    """Return in how many of `cycles` each unit has a command, from its taking to its end."""
    spans: dict[Unit, list[Span]] = {unit: [] for unit in UNITS}
    for command, start, end in zip(program.commands, accepted, done, strict=True):
        unit = Unit(command["unit"])
        if unit in spans and 0 <= start <= end:
            spans[unit].append((start, end + 1, ""))
    return {unit.name.lower(): busy_cycles(mine, cycles) for unit, mine in spans.items()}


def layers_of(program: TrainProgram, layers: Sequence[str]) -> list[str]:
    """Return the layer of each command, as :func:`shares` has them."""
    return [_layer(note, layers) for note in program.notes]


def step_floor(program: TrainProgram, timing: Timing) -> Floor:
    """Return the floor of a step: all MACs at the array's peak, all bytes at the memory's rate."""
    spec = program.spec
    rate = min(spec.memory.rate, Fraction(spec.bus_bytes))
    macs = sum(note.macs for note in program.notes)
    return Floor(
        compute=-(-macs // spec.macs_per_cycle),
        bandwidth=ceil(max(timing.bytes_read, timing.bytes_written) / rate),
    )


def _layer(note: TrainNote, layers: Sequence[str]) -> str:
    if not note.stage:
        return OTHER
    work = note.weights or note.op
    mine = [name for name in layers if work == name or work.startswith(f"{name}.")]
    return max(mine, key=len, default=work.split(".")[0])
